"""Detectors from a plain CSV or Parquet file, without Kafka: with the trainer's model and judgement."""


class BadData(Exception):
    """A file or folder that cannot be used; the message says where, and what its owner can change."""
