"""MQTT to Kafka: at least once, in order, acknowledged only after Kafka has the message."""
