"""Checks an MQTT message and makes the Kafka message of it. Pure.

Of telemetry only the strings and the two numbers are looked at, not the signals: the scorer decodes whole
batches at a fraction of the cost.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from contract import records
from contract.bounds import TIME_MS_MAX, check_time, latest_ms
from contract.errors import Malformed
from contract.schema import Schema
from contract.telemetry import Layout
from contract.topics import MAINTENANCE, TELEMETRY, split_mqtt_topic

COMMAND = "command"  # travels down to the cars; the bridge only sees it because its filter covers all kinds


@dataclass(frozen=True, slots=True)
class Frame:
    """How the records of one schema are checked and framed."""

    header: bytes  # of the Kafka value
    schema: Schema
    layout: Layout | None  # of telemetry; None: the body is decoded instead
    times: tuple[str, ...]  # names of the fields that are times


class Router:
    """Checks frames and swaps headers."""

    def __init__(
        self,
        schemas: Iterable[Schema],
        *,
        ids: Mapping[bytes, int] | None = None,
        payload_bytes_max: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`ids`: schema fingerprint to the id that a registry gave; others get the id of the schema file."""
        self._payload_bytes_max = payload_bytes_max
        self._clock = clock  # s since 1970
        self._frames: dict[str, dict[bytes, Frame]] = {TELEMETRY: {}, MAINTENANCE: {}}
        self._layouts: dict[bytes, Layout] = {}
        for number, schema in records.schema_ids(schemas, ids).items():
            if schema.name in self._frames:
                layout = Layout.of(schema) if schema.name == TELEMETRY else None
                frame = Frame(records.confluent_header(number), schema, layout, schema.times)
                self._frames[schema.name][schema.fingerprint] = frame
                if layout:
                    self._layouts[frame.header] = layout

    def route(self, topic: str, payload: bytes) -> tuple[str, bytes, bytes] | None:
        """(Kafka topic, key, value) of a message; None for a command, which is not forwarded.

        Raises Malformed: `wrong_topic`, `oversized`, `bad_frame`, `unknown_schema`, `wrong_car` (topic and
        record name different cars), `impossible_time` (ahead of our clock) or `malformed_record` (see
        contract/bounds.py; records that are not telemetry: not decodable).
        """
        car_id, kind = split_mqtt_topic(topic)
        if kind == COMMAND:
            return None
        if kind not in self._frames:
            raise Malformed("wrong_topic", f"{kind[:200]!r} is none of {', '.join(self._frames)}, {COMMAND}")
        if len(payload) > self._payload_bytes_max:
            raise Malformed("oversized", f"{len(payload)} bytes, at most {self._payload_bytes_max}")
        frames, (fingerprint, body) = self._frames[kind], records.split_single_object(payload)
        if (frame := frames.get(fingerprint)) is None:
            known = ", ".join(each.hex() for each in frames)
            raise Malformed("unknown_schema", f"{fingerprint.hex()}; known for {kind} are {known}")
        key = car_id.encode()
        car = bytes([2 * len(key)]) + key  # the body must begin with this Avro string
        if not body.startswith(car):
            raise Malformed("wrong_car", f"the record does not begin with the car id {car_id} of the topic")
        until_ms = latest_ms(int(self._clock() * 1_000))
        if frame.layout is None:
            # fastavro reads what other libraries refuse, such as the symbol before the first: only the bytes
            # that a writer makes of the record are forwarded.
            if records.body(frame.schema, record := records.read(frame.schema, body)) != body:
                raise Malformed("malformed_record", f"no writer makes these bytes of a {kind} record")
            for name in frame.times:
                check_time(name, record[name], until_ms)
        else:
            frame.layout.check(payload, records.SINGLE_OBJECT_BYTES, until_ms)
        return kind, key, frame.header + body

    def numbers(self, value: bytes) -> tuple[int, bytes]:
        """(where seq begins in a routed telemetry value, the bytes of seq and sampled_at)."""
        layout = self._layouts[value[: records.CONFLUENT_BYTES]]
        seq_at = layout.check(value, records.CONFLUENT_BYTES, TIME_MS_MAX)
        return seq_at, value[seq_at : -layout.block.itemsize]
