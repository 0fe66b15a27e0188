"""Where an MQTT message goes in Kafka, and whether it may. Pure.

The body of telemetry is not decoded: that is the hot path, and the scorer decodes whole batches.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from contract import records
from contract.errors import Malformed
from contract.framing import SINGLE_OBJECT_BYTES, confluent_header, single_object_header
from contract.schema import Schema
from contract.telemetry import Layout
from contract.topics import MAINTENANCE, TELEMETRY, split_mqtt_topic

COMMAND = "command"  # travels down to the cars and is none of the bridge's business


@dataclass(frozen=True, slots=True)
class Frame:
    """One schema: the header it has in Kafka, and how many bytes may follow the car id."""

    header: bytes
    rest_bytes_min: int
    rest_bytes_max: int
    read_as: Schema | None  # the body is read to check it


class Router:
    """Checks frames and swaps headers."""

    def __init__(
        self, schemas: Iterable[Schema], *, ids: Mapping[bytes, int] | None = None, payload_bytes_max: int
    ) -> None:
        """`ids`: fingerprint to the id that a registry gave; without it the schema files' own."""
        self._payload_bytes_max = payload_bytes_max
        self._frames: dict[str, dict[bytes, Frame]] = {TELEMETRY: {}, MAINTENANCE: {}}
        for schema in schemas:
            if schema.name in self._frames:
                kafka_header = confluent_header((ids or {}).get(schema.fingerprint, schema.schema_id))
                self._frames[schema.name][single_object_header(schema)] = _frame(schema, kafka_header)

    def route(self, topic: str, payload: bytes) -> tuple[str, bytes, bytes] | None:
        """(Kafka topic, key, value) of a message; None for a command, which is not forwarded.

        Raises Malformed: `wrong_topic`, `oversized`, `bad_frame`, `unknown_schema`, `wrong_car` where the
        record's car is not the topic's, `malformed_record` where its length cannot be right or, of a
        record that is not telemetry, where it cannot be read.
        """
        car_id, kind = split_mqtt_topic(topic)
        if kind == COMMAND:
            return None
        if kind not in self._frames:
            raise Malformed("wrong_topic", f"{kind[:200]!r} is none of {', '.join(self._frames)}, {COMMAND}")
        key = car_id.encode()
        car = bytes([2 * len(key)]) + key  # how a body must begin
        head, body = payload[:SINGLE_OBJECT_BYTES], payload[SINGLE_OBJECT_BYTES:]
        frame = self._frames[kind].get(head)
        if (
            frame is None
            or not body.startswith(car)
            or not frame.rest_bytes_min <= len(body) - len(car) <= frame.rest_bytes_max
            or len(payload) > self._payload_bytes_max
        ):
            raise self._blame(kind, key, car, payload)
        if frame.read_as is not None:
            records.read(frame.read_as, body)
        return kind, key, frame.header + body

    def _blame(self, kind: str, key: bytes, car: bytes, payload: bytes) -> Malformed:
        frames = self._frames[kind]
        if len(payload) > self._payload_bytes_max:
            return Malformed("oversized", f"{len(payload)} bytes, at most {self._payload_bytes_max}")
        if len(payload) < SINGLE_OBJECT_BYTES or payload[:2] != b"\xc3\x01":
            return Malformed(
                "bad_frame", f"{len(payload)} bytes that do not begin with C3 01 and a fingerprint"
            )
        if payload[:SINGLE_OBJECT_BYTES] not in frames:
            known = ", ".join(head[2:].hex() for head in frames)
            return Malformed("unknown_schema", f"fingerprint {payload[2:10].hex()}; {kind} knows {known}")
        if not payload.startswith(car, SINGLE_OBJECT_BYTES):
            return Malformed("wrong_car", f"the record is not of {key.decode()}")
        return Malformed("malformed_record", f"{len(payload)} bytes cannot be a whole {kind} record")


def _frame(schema: Schema, header: bytes) -> Frame:
    if schema.name != TELEMETRY:
        return Frame(header, 1, 1 << 30, schema)
    layout = Layout.of(schema)
    return Frame(header, layout.rest_bytes_min, layout.rest_bytes_max, None)
