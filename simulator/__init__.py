"""The fleet: physics of many cars at once, their faults, and one MQTT connection for each of them."""
