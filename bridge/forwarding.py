"""From the bytes of a read to messages for Kafka. No I/O but the producer's queue."""

import struct

import mqtt5
from confluent_kafka import Producer

from bridge import metrics
from bridge.routing import Router
from contract.errors import Malformed
from contract.topics import REJECTED, TELEMETRY
from plumbing.mqtt import parse_one

_DETAIL_CHARS_MAX = 500
DEAD_LETTER_BYTES_MAX = 65_536  # of what was refused; Kafka would refuse a whole oversized message again

# How a PUBLISH of at least 128 bytes begins: kind and flags, its size (a varint), the size of its topic.
_HEAD = struct.Struct(">BBBH")
_PUBLISH_QOS_1 = (0x32, 0x3A)  # sent for the first time, sent again


class Taken:
    """What came of the bytes of a read: how many are used up, and what is to be done about the rest."""

    __slots__ = ("count", "others", "packet_ids", "used")

    def __init__(self) -> None:
        self.used = 0
        self.count = 0  # PUBLISH packets
        self.packet_ids: list[bytes] = []  # of those that want a PUBACK, in order of arrival, 2 bytes each
        self.others: list[mqtt5.Packet] = []


class Forwarder:
    """Hands the messages of a read to Kafka, in their order; what cannot be forwarded becomes a dead letter.

    Plain telemetry, nearly all there is, is recognised byte by byte against what the router remembers of its
    car. Whatever differs in any way goes through the MQTT codec and the router, one packet at a time.
    """

    def __init__(self, router: Router, producer: Producer) -> None:
        self._router = router
        self._produce = producer.produce
        self._telemetry = metrics.forwarded.labels(TELEMETRY)

    def take(self, data: bytes) -> Taken:
        """Forward all whole PUBLISH packets at the beginning of `data`.

        Raises BufferError where the producer's queue is full, ConnectionLost for bytes that are no MQTT.
        """
        taken, end = Taken(), len(data)
        while taken.used < end:
            taken.used = self._plain(data, taken.used, taken.packet_ids)
            found = parse_one(data, taken.used) if taken.used < end else None
            if found is None:
                break
            packet, size = found
            taken.used += size
            if isinstance(packet, mqtt5.PublishPacket):
                self._forward(packet)
                if packet.packet_id is None:
                    taken.count += 1
                else:
                    taken.packet_ids.append(packet.packet_id.to_bytes(2, "big"))
            else:
                taken.others.append(packet)
        taken.count += len(taken.packet_ids)
        return taken

    def dead_letter(
        self, value: bytes, error: Malformed, headers: list[tuple[str, str | bytes | None]] | None = None
    ) -> None:
        """Put what was refused on its topic, with the reason."""
        headers = [("reason", error.reason), ("detail", error.detail[:_DETAIL_CHARS_MAX]), *(headers or [])]
        self._produce(REJECTED, value[:DEAD_LETTER_BYTES_MAX], headers=headers)
        metrics.rejected.labels(error.reason).inc()

    def _plain(self, data: bytes, at: int, packet_ids: list[bytes]) -> int:
        """Forward plain telemetry from `at` on; where the first packet begins that is anything else.

        Nothing here decides that a message is bad: it only sees that one is good.
        """
        produce, known, unpack = self._produce, self._router.plain, _HEAD.unpack_from
        acknowledge, begins, topic, before = packet_ids.append, data.startswith, TELEMETRY, len(packet_ids)
        end = len(data)
        while at <= end - _HEAD.size:
            kind, low, high, topic_bytes = unpack(data, at)
            if kind not in _PUBLISH_QOS_1:
                break
            if low < 0x80:  # the size has one byte
                topic_at, stop = at + 4, at + 2 + low
                topic_bytes = high << 8 | data[at + 3]
            elif high < 0x80:
                topic_at, stop = at + 5, at + 3 + (low & 0x7F | high << 7)
            else:
                break
            id_at = topic_at + topic_bytes
            car = known.get(data[topic_at:id_at])
            if car is None or stop > end:
                break
            key, start, header, rest_min, rest_max = car
            start_at = id_at + 2
            rest_at = start_at + len(start)
            if not rest_min <= stop - rest_at <= rest_max or not begins(start, start_at):
                break
            produce(topic, header + data[rest_at:stop], key)
            acknowledge(data[id_at:start_at])
            at = stop
        self._telemetry.inc(len(packet_ids) - before)
        return at

    def _forward(self, packet: mqtt5.PublishPacket) -> None:
        try:
            target = self._router.route(packet.topic, packet.payload)
        except Malformed as error:
            self.dead_letter(packet.payload, error, [("mqtt_topic", packet.topic.encode()[:1024])])
            return
        if target is not None:
            topic, key, value = target
            self._produce(topic, value, key)
            metrics.forwarded.labels(topic).inc()
