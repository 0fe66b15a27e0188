"""A fleet's telemetry over one MQTT connection, made cheaply: a process beside what is measured.

`python -m loadtest.bench.traffic --mqtt HOST:PORT …` publishes `count` messages, car after car, at `rate` a
second or as fast as the broker acknowledges, and ends once all are acknowledged. A message is stamped with
the time at which it is sent.
"""

import os
import select
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import mqtt5
import numpy as np

from contract.framing import single_object_header
from contract.schema import latest
from contract.telemetry import SIGNALS, STAMP_BYTES, encode, prefix
from contract.topics import TELEMETRY, mqtt_topic
from plumbing import life, settings
from plumbing.life import WorldDown
from plumbing.mqtt import Connection, ConnectionLost, dial
from plumbing.settings import address, setting

# As long as the schema allows: a message takes 200 bytes on the wire, topic and header included.
VEHICLE_MODEL = "reference vehicle of the benchmark, its name as long as it may be"[:63]
_PACKET_IDS = 65_535
_WINDOW_MAX = 5_000  # messages that the broker has not acknowledged: a megabyte
_TICK_S = 0.002
_CHUNK = 500
_MADE_AT_ONCE = 1_000
_FLOATS_BYTES = 4 * len(SIGNALS)
_ANSWER_WITHIN_S = 30.0


@dataclass(frozen=True)
class Settings:
    """Flags or environment (TRAFFIC_…)."""

    mqtt: str = setting("the broker: host:port")
    count: int = setting("messages to publish, over all cars")
    cars: int = setting("cars that take turns", default=10_000)
    first_seq: int = setting("seq of each car's first message", default=1)
    rate: int = setting("messages a second; 0: as fast as they are acknowledged", default=0)


def car_id(number: int) -> str:
    """The name of a car of this traffic; `car_number` is its inverse."""
    return f"bench-{number:06d}"


def car_number(key: bytes) -> int:
    """The number in a car id. Raises ValueError for a car that is not of this traffic."""
    return int(key.removeprefix(b"bench-"))


class Traffic:
    """The PUBLISH packets of a fleet, QoS 1: car after car, then each car's next seq.

    They are encoded many at a time and split where the stamp stands, so that sending costs next to nothing.
    """

    def __init__(self, cars: int, first_seq: int) -> None:
        schema = latest(TELEMETRY)
        head = single_object_header(schema)
        self._prefixes = [head + prefix(schema, car_id(car), VEHICLE_MODEL) for car in range(cars)]
        self._topics = [mqtt_topic(car_id(car), TELEMETRY) for car in range(cars)]
        self._signals = np.random.default_rng(1).normal(50, 10, (cars, len(SIGNALS))).astype(np.float32)
        self._first_seq = first_seq
        self._made = 0
        self._ready: list[tuple[bytes, bytes]] = []  # before and behind the stamp; the last comes first

    def take(self, count: int) -> bytes:
        """The next `count` packets, stamped with the time of now."""
        while len(self._ready) < count:
            self._ready = [*reversed(self._make()), *self._ready]
        stamp = _varint(time.time_ns() // 1_000_000 << 1)
        picked = self._ready[: -count - 1 : -1]
        del self._ready[-count:]
        return b"".join([part for before, behind in picked for part in (before, stamp, behind)])

    def _make(self) -> list[tuple[bytes, bytes]]:
        numbers = np.arange(self._made, self._made + _MADE_AT_ONCE)
        self._made += _MADE_AT_ONCE
        cars, seq = numbers % len(self._topics), numbers // len(self._topics) + self._first_seq
        picked = cars.tolist()
        stamps = np.full(len(numbers), time.time_ns() // 1_000_000)
        payloads = encode([self._prefixes[car] for car in picked], seq, stamps, self._signals[cars])
        packets = [
            mqtt5.PublishPacket(
                self._topics[car], payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=number % _PACKET_IDS + 1
            ).write()
            for car, payload, number in zip(picked, payloads, numbers.tolist(), strict=True)
        ]
        return [(packet[: -STAMP_BYTES - _FLOATS_BYTES], packet[-_FLOATS_BYTES:]) for packet in packets]


def _varint(zigzag: int) -> bytes:
    """STAMP_BYTES bytes, the lowest 7 bits first; the top bit says that more follows."""
    last = STAMP_BYTES - 1
    return bytes([zigzag >> 7 * i & 0x7F | (0x80 if i < last else 0) for i in range(STAMP_BYTES)])


class Publisher:
    """One connection that keeps within what the broker takes at once."""

    def __init__(self, mqtt: str, client_id: str = "bench-traffic") -> None:
        self.sent = self.acknowledged = self.unkept = 0
        self._connection = dial(*address(mqtt, "--mqtt"))
        self._poll = select.poll()
        self._poll.register(self._connection.fileno(), select.POLLOUT)
        self._poll.poll(1_000 * _ANSWER_WITHIN_S)
        self._connection.connected()
        self._connection.send(mqtt5.ConnectPacket(client_id, clean_start=True).write())
        self._window = 0
        self._wait_until(lambda: self._window > 0)

    def send(self, packets: bytes, count: int) -> None:
        """Give `count` packets to the socket; beforehand wait until so many are acknowledged as must be."""
        self._wait_until(lambda: self.sent + count - self.acknowledged <= self._window)
        self.sent += count
        self._connection.send(packets)
        self.turn(0.0)

    def turn(self, timeout_s: float) -> None:
        """Write what waits, read PUBACKs."""
        mask = select.POLLIN | (select.POLLOUT if self._connection.wants_write else 0)
        self._poll.modify(self._connection.fileno(), mask)
        for _, event in self._poll.poll(1_000 * timeout_s):
            if event & select.POLLOUT:
                self._connection.flush()
            if event & ~select.POLLOUT:
                self._read(self._connection)

    def finish(self) -> None:
        """Until the broker has acknowledged all; `unkept` says for how many nobody was subscribed."""
        self._wait_until(lambda: self.acknowledged == self.sent)
        self._connection.send(mqtt5.DisconnectPacket().write())
        self._connection.finish(1.0)

    def _read(self, connection: Connection) -> None:
        for packet in connection.read()[0]:
            if isinstance(packet, mqtt5.PubAckPacket):
                self.acknowledged += 1
                self.unkept += packet.reason_code != mqtt5.PubAckReasonCode.SUCCESS
            elif isinstance(packet, mqtt5.ConnAckPacket):
                self._window = min(packet.receive_max or _WINDOW_MAX, _WINDOW_MAX)

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _ANSWER_WITHIN_S
        while not condition():
            if time.monotonic() > deadline:
                raise WorldDown(f"the broker has acknowledged {self.acknowledged} of {self.sent} messages")
            self.turn(0.1)


def publish(told: Settings) -> None:
    """All messages, in time. Raises WorldDown where the broker does not keep them."""
    traffic, publisher = Traffic(told.cars, told.first_seq), Publisher(told.mqtt)
    began = time.monotonic()
    while (left := told.count - publisher.sent) > 0:
        due = left if not told.rate else int((time.monotonic() - began) * told.rate) - publisher.sent
        if count := min(left, due, _CHUNK):
            publisher.send(traffic.take(count), count)
        if due <= count:
            time.sleep(_TICK_S)
            publisher.turn(0.0)
    publisher.finish()
    if publisher.unkept:
        raise WorldDown(f"{publisher.unkept} of {told.count} messages were not kept: nobody was subscribed")


def _run() -> None:
    try:
        publish(settings.load(Settings, prefix="TRAFFIC", argv=sys.argv[1:], environ=os.environ))
    except ConnectionLost as error:
        raise WorldDown(f"traffic: {error}") from error


if __name__ == "__main__":
    life.main(_run)
