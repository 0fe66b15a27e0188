"""What travels between processes: schemas, codec, topics, model manifest. Pure functions over bytes."""
