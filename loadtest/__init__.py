"""Measures a deployment: scale, CPU per message, chaos, locust load tests, and the sizes of a fleet."""
