"""Single records of any schema, in Kafka's frame or without one."""

import io
from collections.abc import Mapping
from typing import Any

from fastavro import schemaless_reader, schemaless_writer

from contract.errors import Malformed
from contract.framing import confluent_header, split_confluent, split_single_object
from contract.schema import SCHEMAS, Schema, latest


def encode(name: str, record: Mapping[str, Any]) -> bytes:
    """`record` in the newest version of schema `name`, with Kafka's frame. Times are ms since 1970.

    Raises KeyError for an unknown name, ValueError or TypeError for a record that does not fit the schema.
    """
    schema = latest(name)
    return confluent_header(schema.schema_id) + body(schema, record)


def decode(value: bytes) -> tuple[str, dict[str, Any]]:
    """(schema name, record) of a framed Kafka value.

    Raises Malformed: `bad_frame`, `unknown_schema` or `malformed_record`.
    """
    schema_id, data = split_confluent(value)
    for schema in SCHEMAS:
        if schema.schema_id == schema_id:
            return schema.name, read(schema, data)
    raise Malformed("unknown_schema", f"schema id {schema_id}")


def decode_single_object(payload: bytes) -> tuple[Schema, dict[str, Any]]:
    """(schema, record) of an MQTT payload. Raises Malformed like `decode`."""
    crc, data = split_single_object(payload)
    for schema in SCHEMAS:
        if schema.fingerprint == crc:
            return schema, read(schema, data)
    raise Malformed("unknown_schema", f"fingerprint {crc.hex()}")


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
