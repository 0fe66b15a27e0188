"""What measures a deployment: scale, CPU per message, chaos, locust load tests, and the sizes that follow."""
