"""From the bytes of a read to messages for Kafka. The only I/O is the producer's queue."""

from dataclasses import dataclass, field
from functools import cache

import mqtt5
from confluent_kafka import Producer

from bridge import metrics
from bridge.routing import Router
from contract.errors import Malformed, dead_letter
from contract.topics import REJECTED, TELEMETRY
from plumbing.mqtt import parse_one

_KNOWN_MAX = 250_000  # cars, 400 bytes each
_FIRST_TIME_QOS_1 = 0x32  # first byte of a PUBLISH that is neither sent again (DUP) nor retained
# Bytes at the end of a time that stay the same for 17 minutes (2**20 ms).
_SLOW_TIME_BYTES = {6: 3, 7: 4}
_TOPIC_HEADER_BYTES_MAX = 1_024


@dataclass(frozen=True, slots=True)
class KnownPublish:
    """How the PUBLISH packets of one car with telemetry look; learned from the first good one.

    With slots, reading the fields takes as long as unpacking a tuple; those of a NamedTuple take 20 ns more.
    """

    packet_bytes: int  # size of the whole packet
    constant: bytes  # the bytes from behind the packet id to where seq begins in the record
    constant_end: int  # where they end in the packet
    kafka_prefix: bytes  # what the Kafka value begins with instead of them
    key: bytes  # the car id
    numbers_end: int  # where seq and sampled_at end in the packet
    mask: int  # of the bits of these two numbers, as one, that are compared; see `_mask`
    bits: int  # what they must be


@dataclass(slots=True)
class Forwarded:
    """The packets in the bytes of a read, after their messages were forwarded."""

    used_bytes: int = 0  # the whole packets; behind them begins one whose end has not arrived
    publishes: int = 0  # number of PUBLISH packets
    packet_ids: list[bytes] = field(default_factory=list)  # to acknowledge, in order of arrival, 2 bytes each
    other_packets: list[mqtt5.Packet] = field(default_factory=list)  # CONNACK, SUBACK, …


class Forwarder:
    """Hands the messages of a read to Kafka in their order; what cannot be forwarded becomes a dead letter.

    Nearly every message is telemetry that differs from an earlier good one of its car only in bytes that the
    bridge does not check. It is recognised by comparing the others, without parsing. Every other packet goes
    through the MQTT codec and the router.
    """

    def __init__(self, router: Router, producer: Producer) -> None:
        self._router = router
        self._produce = producer.produce
        self._telemetry = metrics.forwarded.labels(TELEMETRY)
        self._known: dict[bytes, KnownPublish] = {}  # key: a packet's bytes before the packet id

    def forward(self, data: bytes) -> Forwarded:
        """Forward all whole PUBLISH packets at the beginning of `data`.

        Raises BufferError where the producer's queue is full, ConnectionLost for bytes that are not MQTT.
        """
        read, end = Forwarded(), len(data)
        while read.used_bytes < end:
            start = self._forward_known(data, read.used_bytes, read.packet_ids)
            read.used_bytes = start
            if (parsed := parse_one(data, start)) is None:
                break
            packet, size = parsed
            read.used_bytes += size
            if isinstance(packet, mqtt5.PublishPacket):
                self._route(packet, data[start : start + size])
                if packet.packet_id is None:
                    read.publishes += 1
                else:
                    read.packet_ids.append(packet.packet_id.to_bytes(2, "big"))
            else:
                read.other_packets.append(packet)
        read.publishes += len(read.packet_ids)
        return read

    def dead_letter(self, value: bytes, error: Malformed, *origin: tuple[str, bytes]) -> None:
        """Send refused bytes to their topic, with the reason; `origin`: headers that say where from."""
        value, headers = dead_letter(value, error, *origin)
        self._produce(REJECTED, value, headers=headers)
        metrics.rejected.labels(error.reason).inc()

    def _forward_known(self, data: bytes, at: int, packet_ids: list[bytes]) -> int:
        """Forward telemetry of known cars from `at` on; returns where the first other packet begins.

        A packet is only ever accepted here; whether one is bad is for the router to say. This is the hot loop
        of the bridge: every bytecode counts.
        """
        produce, known, acknowledge = self._produce, self._known.get, packet_ids.append
        topic, count_before, last = TELEMETRY, len(packet_ids), len(data) - 5
        number = int.from_bytes
        while at < last:
            id_at = at + 5 + data[at + 4]  # kind, size in two bytes, length of the topic in two bytes, topic
            car = known(data[at:id_at])
            if car is None:
                id_at = at + 4 + data[at + 3]  # the size takes one byte if it is below 128
                car = known(data[at:id_at])
                if car is None:
                    break
            stop, constant_end = at + car.packet_bytes, at + car.constant_end
            if (
                stop - 5 > last
                or data[id_at + 2 : constant_end] != car.constant
                or number(data[constant_end : at + car.numbers_end]) & car.mask != car.bits
            ):
                break
            produce(topic, car.kafka_prefix + data[constant_end:stop], car.key)
            acknowledge(data[id_at : id_at + 2])
            at = stop
        self._telemetry.inc(len(packet_ids) - count_before)
        return at

    def _route(self, packet: mqtt5.PublishPacket, raw: bytes) -> None:
        """Forward one packet, whatever it is; `raw` are its bytes."""
        try:
            target = self._router.route(packet.topic, packet.payload)
        except Malformed as error:
            mqtt_topic = packet.topic.encode()[:_TOPIC_HEADER_BYTES_MAX]
            self.dead_letter(packet.payload, error, ("mqtt_topic", mqtt_topic))
            return
        if target is not None:
            topic, key, value = target
            self._produce(topic, value, key)
            metrics.forwarded.labels(topic).inc()
            if topic == TELEMETRY:
                self._learn(raw, key, value)

    def _learn(self, raw: bytes, key: bytes, value: bytes) -> None:
        """Remember what a good PUBLISH with telemetry looks like, if it is of the usual kind.

        That is: sent for the first time, QoS 1, no properties, less than 16 KiB. The router checks nothing of
        a record but its size and the bits that are compared here, so another packet that agrees is as good.
        Its time may be 17 minutes later than one that the router has believed.
        """
        size_bytes = 2 if raw[1] & 0x80 else 1
        topic_at = 1 + size_bytes
        id_at = topic_at + 2 + raw[topic_at + 1]
        if raw[0] != _FIRST_TIME_QOS_1 or raw[size_bytes] & 0x80 or raw[topic_at] or raw[id_at + 2]:
            return
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()  # a flood of invented car ids must not fill the memory
            metrics.cars_forgotten.inc(_KNOWN_MAX)
        before, numbers = self._router.numbers(value)
        constant_end = len(raw) - len(value) + before
        mask = _mask(len(numbers), next(at for at, byte in enumerate(numbers) if byte < 0x80) + 1)
        self._known[raw[:id_at]] = KnownPublish(
            packet_bytes=len(raw),
            constant=raw[id_at + 2 : constant_end],
            constant_end=constant_end,
            kafka_prefix=value[:before],
            key=key,
            numbers_end=constant_end + len(numbers),
            mask=mask,
            bits=int.from_bytes(numbers) & mask,
        )
        metrics.known_cars.set(len(self._known))
        # When seq needs a byte more the packet is a byte longer, and the shorter form does not come again.
        size = len(raw) - topic_at - 1
        encoded = (size,) if size < 0x80 else (size & 0x7F | 0x80, size >> 7)
        self._known.pop(bytes((_FIRST_TIME_QOS_1, *encoded)) + raw[topic_at:id_at], None)


@cache
def _mask(size: int, stamp_at: int) -> int:
    """Which bits of seq and sampled_at tell their sizes, their signs, and the time but for 17 minutes.

    size: bytes of both varints; stamp_at: where the second one begins. The top bit of a byte says whether its
    number goes on; the lowest bit of a number's first byte is its sign.
    """
    mask = bytearray(b"\x80" * size)
    mask[0] |= 1
    mask[stamp_at] |= 1
    slow = _SLOW_TIME_BYTES[size - stamp_at]
    mask[-slow:] = b"\xff" * slow
    return int.from_bytes(mask)
