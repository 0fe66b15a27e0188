"""A shard without a broker: its connections are the test's."""

from typing import Any

import mqtt5

from bridge.forwarding import Forwarded
from bridge.settings import Settings
from bridge.shard import Shard
from plumbing.mqtt import ConnectionLost, parse
from plumbing.names import Names

SUBSCRIBED = [
    mqtt5.ConnAckPacket(),
    mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE]),
]


class Dialled:
    """Receives what the test puts into `inbox`; records what is sent and what is kept for the next read."""

    def __init__(self) -> None:
        self.inbox: list[Any] = []
        self.kept = b""
        self.sent: list[Any] = []
        self.wants_write = self.closed = False
        self.refused = ""
        self.finished_within_s = 0.0

    def connected(self) -> None:
        if self.refused:
            raise ConnectionLost(self.refused)

    def receive(self) -> tuple[bytes, bool]:
        packets, self.inbox = self.inbox, []
        return b"".join(packet.write() for packet in packets), False

    def keep(self, rest: bytes) -> None:
        self.kept = rest

    def send(self, data: bytes) -> None:
        self.sent += parse(data)[0]

    def finish(self, timeout_s: float) -> None:
        self.finished_within_s = timeout_s

    def close(self) -> None:
        self.closed = True


def forward(data: bytes) -> Forwarded:
    """As `Forwarder.forward`, without Kafka."""
    packets, used_bytes = parse(data)
    read = Forwarded(used_bytes)
    for packet in packets:
        if isinstance(packet, mqtt5.PublishPacket):
            read.publishes += 1
            read.packet_ids += [] if packet.packet_id is None else [packet.packet_id.to_bytes(2, "big")]
        else:
            read.other_packets.append(packet)
    return read


def new_shard(number: int, shared_group: str | None = None, names: Any = None, **more: Any) -> Shard:
    brokers = tuple(f"10.0.0.{n}:1883" for n in range(4))
    settings = Settings(
        mqtt_brokers=brokers,
        kafka_bootstrap="k:1",
        in_flight_max=10,
        keep_alive_s=30,
        shared_group=shared_group,
        **more,
    )
    return Shard(number, settings, forward, names or Names())


def connect(shard: Shard, dialled: list[Dialled], now: float) -> None:
    shard.tick(now)
    shard.writable(now + 0.001)
    dialled[-1].inbox += SUBSCRIBED
    shard.readable(now + 0.002)
