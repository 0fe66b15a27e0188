"""The metrics of the bridge."""

from prometheus_client import Counter, Gauge

from contract.topics import MAINTENANCE, TELEMETRY

received = Counter("bridge_received_messages", "PUBLISH packets read from the brokers")
forwarded = Counter("bridge_forwarded_messages", "Messages handed to Kafka", ["topic"])
acknowledged = Counter("bridge_acknowledged_messages", "PUBACKs sent, each after Kafka had the message")
rejected = Counter("bridge_rejected_messages", "Messages sent to telemetry.rejected", ["reason"])
in_flight = Gauge("bridge_in_flight_messages", "Messages read and not yet acknowledged")
connected = Gauge("bridge_connected_shards", "Broker shards connected and subscribed")
connection_losses = Counter("bridge_connection_losses", "Broker connections that ended unexpectedly")
known_cars = Gauge("bridge_known_cars", "Cars whose packets are recognised by their bytes")
cars_forgotten = Counter(
    "bridge_forgotten_cars", "Cars forgotten because there were too many; each is recognised again"
)
paused = Counter("bridge_pauses", "Times that reading stopped because the in-flight limit was reached")

# Each series begins at the start with 0: one that began with its first message would show no increase.
for _topic in (TELEMETRY, MAINTENANCE):
    forwarded.labels(_topic)
for _reason in (
    "wrong_topic", "oversized", "bad_frame", "unknown_schema", "wrong_car", "impossible_time",
    "malformed_record", "refused_by_kafka",
):  # fmt: skip
    rejected.labels(_reason)
