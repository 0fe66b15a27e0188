"""Checks an MQTT message and makes the Kafka message of it. Pure.

The body of telemetry is not decoded here: the scorer decodes whole batches at a fraction of the cost.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from contract import records
from contract.errors import Malformed
from contract.records import SINGLE_OBJECT_BYTES, confluent_header, single_object_header
from contract.schema import Schema
from contract.telemetry import Layout
from contract.topics import MAINTENANCE, TELEMETRY, split_mqtt_topic

COMMAND = "command"  # travels down to the cars; the bridge only sees it because its filter covers all kinds


@dataclass(frozen=True, slots=True)
class Frame:
    """How the records of one schema are checked and framed."""

    header: bytes  # of the Kafka value
    rest_bytes: range  # sizes that what follows the car id can have
    read_as: Schema | None  # the body is decoded with this schema to check it; None: it is not decoded


class Router:
    """Checks frames and swaps headers."""

    def __init__(
        self, schemas: Iterable[Schema], *, ids: Mapping[bytes, int] | None = None, payload_bytes_max: int
    ) -> None:
        """`ids`: schema fingerprint to the id that a registry gave; others get the id of the schema file."""
        self._payload_bytes_max = payload_bytes_max
        self._frames: dict[str, dict[bytes, Frame]] = {TELEMETRY: {}, MAINTENANCE: {}}
        for schema in schemas:
            if schema.name in self._frames:
                kafka_header = confluent_header((ids or {}).get(schema.fingerprint, schema.schema_id))
                if schema.name == TELEMETRY:
                    layout = Layout.of(schema)
                    sizes = range(layout.rest_bytes_min, layout.rest_bytes_max + 1)
                    frame = Frame(kafka_header, sizes, None)
                else:
                    frame = Frame(kafka_header, range(1, 1 << 30), schema)
                self._frames[schema.name][single_object_header(schema)] = frame

    def route(self, topic: str, payload: bytes) -> tuple[str, bytes, bytes] | None:
        """(Kafka topic, key, value) of a message; None for a command, which is not forwarded.

        Raises Malformed: `wrong_topic`, `oversized`, `bad_frame`, `unknown_schema`, `wrong_car` (topic and
        record name different cars) or `malformed_record` (impossible length, or, for records that are not
        telemetry, not decodable).
        """
        car_id, kind = split_mqtt_topic(topic)
        if kind == COMMAND:
            return None
        if kind not in self._frames:
            raise Malformed("wrong_topic", f"{kind[:200]!r} is none of {', '.join(self._frames)}, {COMMAND}")
        if len(payload) > self._payload_bytes_max:
            raise Malformed("oversized", f"{len(payload)} bytes, at most {self._payload_bytes_max}")
        frames, head, body = self._frames[kind], payload[:SINGLE_OBJECT_BYTES], payload[SINGLE_OBJECT_BYTES:]
        if (frame := frames.get(head)) is None:
            if len(head) < SINGLE_OBJECT_BYTES or head[:2] != b"\xc3\x01":
                what = f"{len(payload)} bytes do not begin with C3 01 and a fingerprint"
                raise Malformed("bad_frame", what)
            known = ", ".join(each[2:].hex() for each in frames)
            raise Malformed("unknown_schema", f"fingerprint {head[2:].hex()}; known for {kind} are {known}")
        key = car_id.encode()
        car = bytes([2 * len(key)]) + key  # the body must begin with this Avro string
        if not body.startswith(car):
            raise Malformed("wrong_car", f"the record does not begin with the car id {car_id} of the topic")
        if len(body) - len(car) not in frame.rest_bytes:
            raise Malformed("malformed_record", f"{len(payload)} bytes cannot be a whole {kind} record")
        if frame.read_as is not None:
            records.read(frame.read_as, body)
        return kind, key, frame.header + body
