"""The small records against Apache's avro, and what is refused."""

from typing import Any

import pytest

from contract import records
from contract.errors import Malformed
from contract.records import confluent_header, single_object_header
from contract.schema import latest
from tests.payloads import read_payload

NOW_MS = 1_795_000_000_123
RECORDS: dict[str, dict[str, Any]] = {
    "maintenance": {
        "car_id": "car-000001",
        "report_id": "6f1c",
        "component": "tire_1_1",
        "action": "repaired",
        "occurred_at": NOW_MS,
        "reported_at": NOW_MS + 86_400_000,
        "inspected": True,
        "alert_id": "car-000001-77",
    },
    "anomaly": {
        "car_id": "car-000001",
        "seq": 2**40,
        "sampled_at": NOW_MS,
        "scored_at": NOW_MS + 12,
        "score": 7.5,
        "threshold": 3.25,
        "model_version": 12,
        "signals": [
            {"name": "tire_pressure_1_1", "share": 0.75, "value": 24.5},
            {"name": "speed", "share": 0.25, "value": 33.0},
        ],
    },
    "audit": {
        "partition": 11,
        "first_offset": 10_000,
        "last_offset": 12_047,
        "scored": 2_000,
        "duplicates": 40,
        "late": 3,
        "rejected": 8,
        "model_version": 12,
        "scored_at": NOW_MS,
        "scorer": "scorer-0",
        "group": "scorer",
        "topic_id": "Yoio5r6GT7e4NOMnYPzKSA",
    },
    "model": {"name": "failure-detector", "version": 12, "manifest": '{"ä": 1}', "tflite": bytes(range(256))},
}
EACH = pytest.mark.parametrize("name", RECORDS)


@EACH
def test_bytes_are_those_of_apache_avro(name: str, apache: Any):
    """encode() is Confluent's header and byte for byte the body that Apache's library writes."""
    schema = latest(name)
    expected = confluent_header(schema.schema_id) + apache.write(schema, RECORDS[name])
    assert records.encode(name, RECORDS[name]) == expected


@EACH
def test_apache_avro_reads_our_bytes(name: str, apache: Any):
    """Apache's library reads back what encode() was given, times included."""
    assert apache.read(latest(name), records.encode(name, RECORDS[name])[5:]) == RECORDS[name]


@EACH
def test_roundtrip(name: str):
    """decode() gives the name and the record of encode()."""
    assert records.decode(records.encode(name, RECORDS[name])) == (name, RECORDS[name])


@EACH
def test_a_record_cut_at_any_byte_is_refused(name: str):
    """No prefix of a record passes: its reason is the frame's or the body's."""
    whole = records.encode(name, RECORDS[name])
    for size in range(len(whole)):
        with pytest.raises(Malformed) as refusal:
            records.decode(whole[:size])
        assert refusal.value.reason == ("bad_frame" if size < 5 else "malformed_record")


@EACH
def test_bytes_after_the_record_are_refused(name: str):
    """A record must be all of its value."""
    with pytest.raises(Malformed, match="3 bytes after the record"):
        records.decode(records.encode(name, RECORDS[name]) + b"abc")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "bad_frame"),
        (b"\1\0\0\0\3", "bad_frame"),
        (b"hello, world", "bad_frame"),
        (confluent_header(250) + b"\2c", "unknown_schema"),
        (confluent_header(3) + b"\x02\xff", "malformed_record"),  # a string that is not UTF-8
        (confluent_header(3) + b"\2c\2r\2t\x10\2\2", "malformed_record"),  # the 9th symbol of two
        (confluent_header(3) + b"\xff" * 12, "malformed_record"),  # a length of no end
        (confluent_header(6) + b"\2m\2\2{\xfe\xff\xff\xff\xff\x7f", "malformed_record"),  # 2 TiB of bytes
    ],
)
def test_garbage_is_refused_with_its_reason(value: bytes, reason: str):
    """decode() raises Malformed, never anything else, and asks for no memory that the bytes do not fill."""
    with pytest.raises(Malformed) as refusal:
        records.decode(value)
    assert refusal.value.reason == reason


def test_the_ids_of_a_registry_are_read_as_such():
    """A reader that was told of them knows these ids alone: another schema may have one of a file's."""
    body = records.encode("maintenance", RECORDS["maintenance"])[5:]
    schemas = {3: latest("maintenance")}  # in the files the id of version 1
    assert records.decode(confluent_header(3) + body, schemas) == ("maintenance", RECORDS["maintenance"])
    with pytest.raises(Malformed, match="schema id 11"):
        records.decode(confluent_header(11) + body, schemas)


def test_single_object_encoding_is_read_as_a_car_sends_it(apache: Any):
    """The fingerprint in the frame finds the schema, and Apache's body is read."""
    schema = latest("maintenance")
    payload = single_object_header(schema) + apache.write(schema, RECORDS["maintenance"])
    assert read_payload(payload) == (schema, RECORDS["maintenance"])


@pytest.mark.parametrize(
    "change",
    [{"action": "exploded"}, {"car_id": 5}, {"occurred_at": "today"}, {"occurred_at": None}],
    ids=lambda change: next(iter(change)),
)
def test_encode_refuses_a_record_that_does_not_fit(change: dict[str, Any]):
    """A wrong type or symbol is an error of the writer, raised before anything is sent."""
    with pytest.raises((TypeError, ValueError)):
        records.encode("maintenance", RECORDS["maintenance"] | change)


def test_encode_refuses_a_missing_field_and_an_unknown_name():
    """Every field must be given; a name without a schema is a KeyError."""
    with pytest.raises(ValueError, match="car_id"):
        records.encode("maintenance", {k: v for k, v in RECORDS["maintenance"].items() if k != "car_id"})
    with pytest.raises(KeyError, match="weather"):
        records.encode("weather", {})
