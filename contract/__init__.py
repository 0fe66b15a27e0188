"""What travels between the processes: schemas, codec, topics, model manifest. Pure: bytes in, bytes out."""
