"""From the bytes of a read to messages for Kafka. No I/O but the producer's queue."""

import mqtt5
from confluent_kafka import Producer

from bridge import metrics
from bridge.routing import Router
from contract.errors import Malformed
from contract.framing import CONFLUENT_BYTES
from contract.topics import REJECTED, TELEMETRY
from plumbing.mqtt import parse_one

_DETAIL_CHARS_MAX = 500
DEAD_LETTER_BYTES_MAX = 65_536  # of what was refused; Kafka would refuse a whole oversized message again

# What was learned of a car's telemetry from a good one, by the first bytes of its PUBLISH up to the packet id
# (kind, size, topic): (bytes of the whole PUBLISH; those from behind the packet id to the car id in the
# record; where they end; what stands in Kafka instead of them; Kafka key).
Known = tuple[int, bytes, int, bytes, bytes]
_KNOWN_MAX = 1_000_000
_FIRST_TIME_QOS_1 = 0x32  # PUBLISH, not sent again, not retained
_CAR_LENGTH_BYTES = 1  # before the car id in a record: Avro's length of at most CAR_ID_BYTES_MAX


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

    Telemetry that differs from a good one of the same car only in what the bridge does not look at, nearly
    all there is, is recognised by its bytes. All else goes through the MQTT codec and the router, one packet
    at a time.
    """

    def __init__(self, router: Router, producer: Producer) -> None:
        self._router = router
        self._produce = producer.produce
        self._telemetry = metrics.forwarded.labels(TELEMETRY)
        self._known: dict[bytes, Known] = {}

    def take(self, data: bytes) -> Taken:
        """Forward all whole PUBLISH packets at the beginning of `data`.

        Raises BufferError where the producer's queue is full, ConnectionLost for bytes that are no MQTT.
        """
        taken, end = Taken(), len(data)
        while taken.used < end:
            taken.used = self._take_known(data, taken.used, taken.packet_ids)
            found = parse_one(data, taken.used) if taken.used < end else None
            if found is None:
                break
            packet, size = found
            begins_at, taken.used = taken.used, taken.used + size
            if isinstance(packet, mqtt5.PublishPacket):
                self._forward(packet, data[begins_at : taken.used])
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

    def _take_known(self, data: bytes, at: int, packet_ids: list[bytes]) -> int:
        """Forward telemetry of known cars from `at` on; where the first packet begins that is anything else.

        Nothing here decides that a message is bad: it only sees that one is good. Every bytecode counts.
        """
        produce, known, acknowledge = self._produce, self._known.get, packet_ids.append
        topic, before, last = TELEMETRY, len(packet_ids), len(data) - 5
        while at < last:
            id_at = at + 5 + data[at + 4]
            car = known(data[at:id_at])
            if car is None:
                id_at = at + 4 + data[at + 3]  # if it has less than 128 bytes, its size takes one
                car = known(data[at:id_at])
                if car is None:
                    break
            size, start, rest_at, instead, key = car
            stop, rest_at = at + size, at + rest_at
            if stop - 5 > last or data[id_at + 2 : rest_at] != start:
                break
            produce(topic, instead + data[rest_at:stop], key)
            acknowledge(data[id_at : id_at + 2])
            at = stop
        self._telemetry.inc(len(packet_ids) - before)
        return at

    def _forward(self, packet: mqtt5.PublishPacket, raw: bytes) -> None:
        try:
            target = self._router.route(packet.topic, packet.payload)
        except Malformed as error:
            self.dead_letter(packet.payload, error, [("mqtt_topic", packet.topic.encode()[:1024])])
            return
        if target is not None:
            topic, key, value = target
            self._produce(topic, value, key)
            metrics.forwarded.labels(topic).inc()
            if topic == TELEMETRY:
                self._learn(raw, key, value)

    def _learn(self, raw: bytes, key: bytes, value: bytes) -> None:
        """Remember what a good PUBLISH with telemetry looks like, if it is of the usual kind.

        That is: sent for the first time, at QoS 1, without properties, of less than 16 KiB. The router judges
        no more of a record than its size and what is compared here, so another one that agrees is as good.
        """
        size_bytes = 2 if raw[1] & 0x80 else 1
        topic_at = 1 + size_bytes
        id_at = topic_at + 2 + raw[topic_at + 1]
        if raw[0] != _FIRST_TIME_QOS_1 or raw[size_bytes] & 0x80 or raw[topic_at] or raw[id_at + 2]:
            return
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()  # a flood of invented car ids must not fill the memory
        rest_bytes = len(value) - CONFLUENT_BYTES - _CAR_LENGTH_BYTES - len(key)
        rest_at = len(raw) - rest_bytes
        self._known[raw[:id_at]] = (len(raw), raw[id_at + 2 : rest_at], rest_at, value[:-rest_bytes], key)
        # Now and then a car's seq takes a byte more, and what it replaces does not come again.
        self._known.pop(_head(len(raw) - topic_at - 1, raw[topic_at:id_at]), None)


def _head(size: int, topic: bytes) -> bytes:
    """How a PUBLISH begins behind whose size (below 16 KiB) so many bytes follow."""
    encoded = (size,) if size < 0x80 else (size & 0x7F | 0x80, size >> 7)
    return bytes((_FIRST_TIME_QOS_1, *encoded)) + topic
