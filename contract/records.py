"""Records of any schema, one at a time, and the bytes before a record's body.

On MQTT: Avro single-object encoding, `C3 01` and the schema's fingerprint (8 bytes), so that a car needs no
registry. In Kafka: the Confluent wire format, `00` and the schema id (4 bytes, big-endian), so that every
client of a schema registry reads the topics.
"""

import io
from collections.abc import Iterable, Mapping
from typing import Any

from fastavro import schemaless_reader, schemaless_writer

from contract.errors import Malformed
from contract.schema import SCHEMAS, Schema, latest

SINGLE_OBJECT_BYTES = 10
CONFLUENT_BYTES = 5


def single_object_header(schema: Schema) -> bytes:
    """The 10 bytes before a body on MQTT."""
    return b"\xc3\x01" + schema.fingerprint


def confluent_header(schema_id: int) -> bytes:
    """The 5 bytes before a body in Kafka."""
    return b"\x00" + schema_id.to_bytes(4, "big")


def schema_ids(schemas: Iterable[Schema], registered: Mapping[bytes, int] | None = None) -> dict[int, Schema]:
    """Kafka's schema id to schema; `registered` (fingerprint to id) are the ids that a registry gave."""
    ids = registered or {}
    return {ids.get(schema.fingerprint, schema.schema_id): schema for schema in schemas}


_BY_ID = schema_ids(SCHEMAS)


def split_confluent(value: bytes) -> tuple[int, bytes]:
    """The schema id and the body of a framed Kafka value. Raises Malformed (`bad_frame`)."""
    if len(value) < CONFLUENT_BYTES or value[0] != 0:
        raise Malformed("bad_frame", f"{len(value)} bytes that do not begin with 00 and a schema id")
    return int.from_bytes(value[1:CONFLUENT_BYTES], "big"), value[CONFLUENT_BYTES:]


def split_single_object(payload: bytes) -> tuple[bytes, bytes]:
    """The fingerprint and the body of an MQTT payload. Raises Malformed (`bad_frame`)."""
    if len(payload) < SINGLE_OBJECT_BYTES or payload[:2] != b"\xc3\x01":
        raise Malformed("bad_frame", f"{len(payload)} bytes that do not begin with C3 01 and a fingerprint")
    return payload[2:SINGLE_OBJECT_BYTES], payload[SINGLE_OBJECT_BYTES:]


def encode(name: str, record: Mapping[str, Any]) -> bytes:
    """`record` in the newest version of schema `name`, with Kafka's frame. Times are ms since 1970.

    Raises KeyError for an unknown name, ValueError or TypeError for a record that does not fit the schema.
    """
    schema = latest(name)
    return confluent_header(schema.schema_id) + body(schema, record)


def decode(value: bytes, schemas: Mapping[int, Schema] | None = None) -> tuple[str, dict[str, Any]]:
    """(schema name, record) of a framed Kafka value. `schemas`: by the ids that a registry gave (schema_ids).

    Raises Malformed: `bad_frame`, `unknown_schema` or `malformed_record`.
    """
    schema_id, data = split_confluent(value)
    if (schema := (_BY_ID if schemas is None else schemas).get(schema_id)) is None:
        raise Malformed("unknown_schema", f"schema id {schema_id}")
    return schema.name, read(schema, data)


def body(schema: Schema, record: Mapping[str, Any]) -> bytes:
    """The record's Avro bytes without a frame."""
    out = io.BytesIO()
    schemaless_writer(out, schema.parsed, record)
    return out.getvalue()


def read(schema: Schema, data: bytes) -> dict[str, Any]:
    """The record in `data`, without bytes after it. Raises Malformed (`malformed_record`)."""
    source = io.BytesIO(data)
    try:
        record: Any = schemaless_reader(source, schema.parsed, None)
    except (EOFError, ValueError, IndexError, StopIteration, OverflowError, MemoryError) as error:
        raise Malformed(
            "malformed_record", f"not a record of {schema.name} v{schema.version}: {error!r}"
        ) from error
    if source.tell() != len(data):
        raise Malformed("malformed_record", f"{len(data) - source.tell()} bytes after the record")
    return dict(record)
