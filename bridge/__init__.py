"""MQTT to Kafka: at least once, in order, acknowledged only when Kafka has it."""
