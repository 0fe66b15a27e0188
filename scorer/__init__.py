"""Telemetry in, anomalies out: every record scored once, by a model that can change meanwhile."""
