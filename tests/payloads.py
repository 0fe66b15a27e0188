"""MQTT payloads, read back: the bridge only swaps their frames."""

from typing import Any

from contract.records import read, split_single_object
from contract.schema import SCHEMAS, Schema


def read_payload(payload: bytes) -> tuple[Schema, dict[str, Any]]:
    """(schema, record) of an MQTT payload."""
    fingerprint, body = split_single_object(payload)
    (schema,) = (schema for schema in SCHEMAS if schema.fingerprint == fingerprint)
    return schema, read(schema, body)
