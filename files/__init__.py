"""Detectors from a plain CSV or Parquet file, without Kafka: with the trainer's model and judgement."""
