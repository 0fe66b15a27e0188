"""The bytes before a body, on MQTT and in Kafka."""

import pytest

from contract import records
from contract.errors import Malformed
from contract.schema import SCHEMAS, get


def test_the_confluent_frame_is_a_zero_and_a_big_endian_id():
    """As Confluent's wire format has it: magic byte 0, then 4 bytes, the highest first."""
    assert records.confluent_header(1) == b"\x00\x00\x00\x00\x01"
    assert records.confluent_header(0x01020304) == b"\x00\x01\x02\x03\x04"


def test_the_single_object_frame_is_c3_01_and_the_fingerprint():
    """As the Avro specification has it ("Single-object encoding")."""
    schema = get("telemetry", 1)
    assert records.single_object_header(schema) == b"\xc3\x01" + schema.fingerprint
    assert len(schema.fingerprint) == 8


def test_frames_split_into_what_they_were_made_of():
    """split_…() gives back the id or the fingerprint, and the body, which may be empty."""
    schema = get("telemetry", 1)
    assert records.split_confluent(records.confluent_header(7) + b"body") == (7, b"body")
    assert records.split_confluent(records.confluent_header(7)) == (7, b"")
    framed = records.single_object_header(schema) + b"body"
    assert records.split_single_object(framed) == (schema.fingerprint, b"body")


@pytest.mark.parametrize("value", [b"", b"\0", b"\0\0\0\0", b"\1\0\0\0\1", b"{}...."])
def test_a_value_without_the_confluent_frame_is_refused(value: bytes):
    """Too short or another first byte: bad_frame, with the size in the message."""
    with pytest.raises(Malformed, match=f"bad_frame: {len(value)} bytes"):
        records.split_confluent(value)


@pytest.mark.parametrize("payload", [b"", b"\xc3", b"\xc3\x01" + bytes(7), b"\xc3\x02" + bytes(20)])
def test_a_payload_without_the_single_object_frame_is_refused(payload: bytes):
    """Too short or other first bytes: bad_frame, with the size in the message."""
    with pytest.raises(Malformed, match=f"bad_frame: {len(payload)} bytes"):
        records.split_single_object(payload)


def test_a_registry_s_ids_take_the_place_of_our_own():
    """Where a registry gave an id it is used; the other schemas keep theirs."""
    v1, v2, maintenance = get("telemetry", 1), get("telemetry", 2), get("maintenance", 1)
    assert records.schema_ids([v1, v2], None) == {1: v1, 2: v2}
    given = {v1.fingerprint: 1001, v2.fingerprint: 1002}
    assert records.schema_ids([v1, v2, maintenance], given) == {1001: v1, 1002: v2, 3: maintenance}


def test_our_own_ids_fit_the_frame():
    """Every schema file's id is a positive 32-bit number."""
    assert all(0 < schema.schema_id < 2**31 for schema in SCHEMAS)
