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
_ROUTES_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Frame:
    """One schema: the header it has in Kafka, and how many bytes may follow the car id."""

    header: bytes
    rest_bytes_min: int
    rest_bytes_max: int
    read_as: Schema | None  # the body is read to check it


@dataclass(frozen=True, slots=True)
class Route:
    """An MQTT topic: its Kafka topic and key, how a body must begin, and the schemas it may have."""

    topic: str
    key: bytes
    body_start: bytes
    frames: Mapping[bytes, Frame]


class Router:
    """Checks frames and swaps headers; remembers a route for each MQTT topic."""

    def __init__(
        self, schemas: Iterable[Schema], *, ids: Mapping[bytes, int] | None = None, payload_bytes_max: int
    ) -> None:
        """`ids`: fingerprint to the id that a registry gave; without it the schema files' own."""
        self._payload_bytes_max = payload_bytes_max
        self._frames: dict[str, dict[bytes, Frame]] = {TELEMETRY: {}, MAINTENANCE: {}}
        self._routes: dict[str, Route] = {}
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
        route = self._routes.get(topic) or self._learn(topic)
        if route is None:
            return None
        frame = route.frames.get(payload[:SINGLE_OBJECT_BYTES])
        rest_bytes = len(payload) - SINGLE_OBJECT_BYTES - len(route.body_start)
        if (
            frame is None
            or not payload.startswith(route.body_start, SINGLE_OBJECT_BYTES)
            or not frame.rest_bytes_min <= rest_bytes <= frame.rest_bytes_max
            or len(payload) > self._payload_bytes_max
        ):
            raise self._blame(route, frame, payload)
        if frame.read_as is not None:
            records.read(frame.read_as, payload[SINGLE_OBJECT_BYTES:])
        return route.topic, route.key, frame.header + payload[SINGLE_OBJECT_BYTES:]

    def _learn(self, topic: str) -> Route | None:
        car_id, kind = split_mqtt_topic(topic)
        if kind == COMMAND:
            return None
        if kind not in self._frames:
            raise Malformed("wrong_topic", f"{kind[:200]!r} is none of {', '.join(self._frames)}, {COMMAND}")
        key = car_id.encode()
        if len(self._routes) >= _ROUTES_MAX:
            self._routes.clear()  # a flood of invented car ids must not fill the memory
        route = self._routes[topic] = Route(kind, key, bytes([2 * len(key)]) + key, self._frames[kind])
        return route

    def _blame(self, route: Route, frame: Frame | None, payload: bytes) -> Malformed:
        if len(payload) > self._payload_bytes_max:
            return Malformed("oversized", f"{len(payload)} bytes, at most {self._payload_bytes_max}")
        if len(payload) < SINGLE_OBJECT_BYTES or payload[:2] != b"\xc3\x01":
            return Malformed(
                "bad_frame", f"{len(payload)} bytes that do not begin with C3 01 and a fingerprint"
            )
        if frame is None:
            known = ", ".join(head[2:].hex() for head in route.frames)
            return Malformed(
                "unknown_schema", f"fingerprint {payload[2:10].hex()}; {route.topic} knows {known}"
            )
        if not payload.startswith(route.body_start, SINGLE_OBJECT_BYTES):
            return Malformed("wrong_car", f"the record is not of {route.key.decode()}")
        return Malformed("malformed_record", f"{len(payload)} bytes cannot be a whole {route.topic} record")


def _frame(schema: Schema, header: bytes) -> Frame:
    if schema.name != TELEMETRY:
        return Frame(header, 1, 1 << 30, schema)
    layout = Layout.of(schema)
    return Frame(header, layout.rest_bytes_min, layout.rest_bytes_max, None)
