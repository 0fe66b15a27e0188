"""What MirrorMaker leaves out: compares where it is with what edge Kafka still holds.

MirrorMaker goes on at the oldest record that is left where retention has overtaken it, and says nothing. This
process runs beside it, at the edge, because nobody else sees both clusters: the edge's offsets, and
MirrorMaker's own, which it keeps in the cloud.

settings   what it can be told
position   MirrorMaker's offsets, followed
gaps       what can no longer be copied, from positions and logs; no I/O
pipeline   the loop
"""
