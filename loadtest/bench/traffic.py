"""A fleet's telemetry over one MQTT connection, made cheaply in a process beside the one that is measured.

`python -m loadtest.bench.traffic HOST:PORT COUNT RATE` publishes COUNT messages, car after car, RATE a second
(0: as fast as the broker acknowledges), and ends once all are acknowledged. The time stamp of a message is
the time at which it is sent.
"""

import sys
import time

import mqtt5
import numpy as np

from contract.bounds import STAMP_BYTES
from contract.records import single_object_header
from contract.schema import latest
from contract.telemetry import SIGNALS, encode, prefix
from contract.topics import TELEMETRY, mqtt_topic
from contract.varints import varint
from plumbing import life
from plumbing.life import WorldDown
from plumbing.mqtt import ConnectionLost, dial
from plumbing.settings import address

CARS = 10_000
FIRST_SEQ = 1_001  # smaller ones belong to the first message, which shows that a program works
# As long as the schema allows: a message takes 200 bytes on the wire, with topic and header.
VEHICLE_MODEL = "reference vehicle of the benchmark, its name as long as it may be"[:63]
_PACKET_IDS = 65_535
_UNACKNOWLEDGED_MAX = 5_000  # a megabyte
_TICK_S = 0.002
_CHUNK = 500
_ENCODED_AT_ONCE = 1_000
_FLOATS_BYTES = 4 * len(SIGNALS)
_ANSWER_WITHIN_S = 30.0


def car_id(number: int) -> str:
    """The id of a car of this traffic; `car_number` is its inverse."""
    return f"bench-{number:06d}"


def car_number(key: bytes) -> int:
    """The number in a car id. Raises ValueError for a car that does not belong to this traffic."""
    return int(key.removeprefix(b"bench-"))


class Traffic:
    """The PUBLISH packets of a fleet, QoS 1: one of each car in turn, then each car's next seq.

    They are encoded in advance and split at the time stamp, so that sending costs next to nothing.
    """

    def __init__(self, cars: int, first_seq: int) -> None:
        schema = latest(TELEMETRY)
        header = single_object_header(schema)
        self._prefixes = [header + prefix(schema, car_id(car), VEHICLE_MODEL) for car in range(cars)]
        self._topics = [mqtt_topic(car_id(car), TELEMETRY) for car in range(cars)]
        self._signals = np.random.default_rng(1).normal(50, 10, (cars, len(SIGNALS))).astype(np.float32)
        self._first_seq = first_seq
        self._encoded = 0
        # The parts of each packet before and after the time stamp; the next packet last.
        self._ready: list[tuple[bytes, bytes]] = []

    def take(self, count: int) -> bytes:
        """The next `count` packets with the present time as their time stamp."""
        while len(self._ready) < count:
            self._ready = [*reversed(self._encode()), *self._ready]
        stamp = varint(time.time_ns() // 1_000_000)
        packets = self._ready[: -count - 1 : -1]
        del self._ready[-count:]
        return b"".join([part for before, after in packets for part in (before, stamp, after)])

    def _encode(self) -> list[tuple[bytes, bytes]]:
        numbers = np.arange(self._encoded, self._encoded + _ENCODED_AT_ONCE)
        self._encoded += _ENCODED_AT_ONCE
        cars, seq = numbers % len(self._topics), numbers // len(self._topics) + self._first_seq
        stamps = np.full(len(numbers), time.time_ns() // 1_000_000)
        prefixes = [self._prefixes[car] for car in cars.tolist()]
        payloads = encode(prefixes, seq, stamps, self._signals[cars])
        packets = [
            mqtt5.PublishPacket(
                self._topics[car], payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=number % _PACKET_IDS + 1
            ).write()
            for car, payload, number in zip(cars.tolist(), payloads, numbers.tolist(), strict=True)
        ]
        return [(packet[: -STAMP_BYTES - _FLOATS_BYTES], packet[-_FLOATS_BYTES:]) for packet in packets]


class Publisher:
    """One connection that sends no more than the broker's receive maximum without acknowledgement.

    All methods raise ConnectionLost, also where the broker is silent for 30 s.
    """

    def __init__(self, mqtt: str, client_id: str = "bench-traffic") -> None:
        self.sent = self.acknowledged = self.without_subscriber = 0
        self._window = 0
        self._connection = dial(*address(mqtt, "--mqtt"))
        self._connection.sock.settimeout(_ANSWER_WITHIN_S)  # from now on sending and reading wait
        self._write(mqtt5.ConnectPacket(client_id, clean_start=True).write())
        while not self._window:
            self._read()

    def send(self, packets: bytes, count: int) -> None:
        """Send `count` packets once the broker has acknowledged enough of the earlier ones."""
        while self.sent + count - self.acknowledged > self._window:
            self._read()
        self.sent += count
        self._write(packets)

    def finish(self) -> None:
        """Disconnect once the broker has acknowledged everything."""
        while self.acknowledged < self.sent:
            self._read()
        self._write(mqtt5.DisconnectPacket().write())
        self._connection.finish(1.0)

    def _write(self, data: bytes) -> None:
        self._connection.send(data)
        while self._connection.wants_write:
            self._connection.flush()

    def _read(self) -> None:
        for packet in self._connection.read()[0]:
            if isinstance(packet, mqtt5.PubAckPacket):
                self.acknowledged += 1
                self.without_subscriber += packet.reason_code != mqtt5.PubAckReasonCode.SUCCESS
            elif isinstance(packet, mqtt5.ConnAckPacket):
                self._window = min(packet.receive_max or _UNACKNOWLEDGED_MAX, _UNACKNOWLEDGED_MAX)


def _publish(mqtt: str, count: int, rate: int) -> None:
    traffic, publisher = Traffic(CARS, FIRST_SEQ), Publisher(mqtt)
    began = time.monotonic()
    while (left := count - publisher.sent) > 0:
        due = left if not rate else int((time.monotonic() - began) * rate) - publisher.sent
        if chunk := min(left, due, _CHUNK):
            publisher.send(traffic.take(chunk), chunk)
        if due <= chunk:
            time.sleep(_TICK_S)
    publisher.finish()
    if lost := publisher.without_subscriber:
        raise WorldDown(f"{lost} of {count} messages were dropped by the broker: nobody subscribed")


def _run() -> None:
    try:
        mqtt, count, rate = sys.argv[1:]
        _publish(mqtt, int(count), int(rate))
    except ConnectionLost as error:
        raise WorldDown(f"traffic: {error}") from error


if __name__ == "__main__":
    life.main(_run)
