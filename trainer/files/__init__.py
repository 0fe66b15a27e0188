"""Somebody's own data in a plain file: trained on and scored without Kafka (docs/your-data.md)."""
