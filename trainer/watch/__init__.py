"""The watch: what the evidence of models at work says about them, and what follows from it.

drift      whether the fleet has changed so that its model no longer fits
looks      how the champion's cars stood, at equal steps of time
arrived    what the scorers of each edge report, for the board of the cloud
counts     the evidence of both models of a trial, added up
verdict    promote, withdraw, hold or wait: what follows from the evidence of a trial
reader     evidence, alerts and reports from the cloud's log
gathered   the evidence of a trial, from what was read
training   a training that is started where a drift lasts
pipeline   the loop: read, look, decide
shown      metrics, and the table of `trainer trial`
"""
