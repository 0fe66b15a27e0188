"""Routing of MQTT messages to Kafka, and each reason for a refusal."""

from typing import Any

import numpy as np
import pytest

from bridge.routing import Router
from contract import records
from contract.errors import Malformed
from contract.records import confluent_header, single_object_header
from contract.schema import SCHEMAS, get, latest
from contract.telemetry import encode, prefix

V1, V2, MAINTENANCE = get("telemetry", 1), get("telemetry", 2), latest("maintenance")
NOTHING_FOUND = {"action": "repaired", "inspected": True, "alert_id": "car-1-7"}
TOPIC = "fleet/v1/car-1/telemetry"
REPORT = {
    "car_id": "car-1", "report_id": "r1", "component": "tire_1_1", "action": "failed",
    "occurred_at": 1_795_000_000_000, "reported_at": 1_795_000_000_000,
}  # fmt: skip


@pytest.fixture
def router() -> Router:
    return Router(SCHEMAS, payload_bytes_max=1_000)


def _telemetry(schema: Any = V1, car: str = "car-1", seq: int = 1, model: str = "Zoé") -> bytes:
    head = single_object_header(schema) + prefix(schema, car, model)
    signals = np.zeros((1, len(schema.names("float"))), np.float32)
    return encode([head], np.array([seq]), np.array([1_795_000_000_000]), signals)[0]


def _report(schema: Any = MAINTENANCE, **change: Any) -> bytes:
    return single_object_header(schema) + records.body(schema, REPORT | change)


@pytest.mark.parametrize("seq", [0, 64, 8_192, 2**20, 2**34 - 1])
@pytest.mark.parametrize("schema", [V1, V2], ids=["v1", "v2"])
def test_telemetry_goes_to_its_topic_with_the_other_header(router: Router, schema: Any, seq: int):
    """The key is the car; the value is Kafka's header and the unchanged body, for every length of seq."""
    payload = _telemetry(schema, seq=seq)
    expected = ("telemetry", b"car-1", confluent_header(schema.schema_id) + payload[10:])
    assert router.route(TOPIC, payload) == expected
    assert router.route(TOPIC, payload) == expected


@pytest.mark.parametrize("model", ["", "m" * 63])
def test_other_strings_of_any_length_pass(router: Router, model: str):
    """The vehicle model of version 2 may be empty or have the maximal length."""
    assert router.route(TOPIC, _telemetry(V2, seq=2**34 - 1, model=model)) is not None


@pytest.mark.parametrize(
    ("schema", "more"),
    [(get("maintenance", 1), {}), (get("maintenance", 2), NOTHING_FOUND)],
    ids=["v1", "v2"],
)
def test_a_workshop_report_goes_to_maintenance(router: Router, schema: Any, more: dict[str, Any]):
    """The value in Kafka has the id of the version and decodes to the record that the workshop sent."""
    routed = router.route("fleet/v1/car-1/maintenance", _report(schema, **more))
    assert routed is not None
    topic, key, value = routed
    assert (topic, key, value[:5]) == ("maintenance", b"car-1", confluent_header(schema.schema_id))
    assert records.decode(value) == ("maintenance", REPORT | more)


def test_a_command_is_not_forwarded(router: Router):
    """Commands travel to the cars: no Kafka message, and no refusal whatever the payload."""
    assert router.route("fleet/v1/car-1/command", b"anything") is None


def test_a_registry_s_ids_are_used():
    """The frame has the registry's id if there is one, else the id of the schema file."""
    router = Router(SCHEMAS, ids={V1.fingerprint: 4711}, payload_bytes_max=1_000)
    for schema, expected in ((V1, 4711), (V2, V2.schema_id)):
        routed = router.route(TOPIC, _telemetry(schema))
        assert routed is not None
        assert routed[2][:5] == confluent_header(expected)


GOOD = _telemetry()
OTHER_WAY = b"\xc3\x01" + V1.fingerprint[::-1] + GOOD[10:]  # the fingerprint with its bytes turned round
REFUSED: dict[str, tuple[str, bytes, str]] = {
    "another tree": ("cars/car-1/telemetry", GOOD, "wrong_topic"),
    "another version": ("fleet/v2/car-1/telemetry", GOOD, "wrong_topic"),
    "no car": ("fleet/v1//telemetry", GOOD, "wrong_topic"),
    "an impossible car": ("fleet/v1/car 1/telemetry", GOOD, "wrong_topic"),
    "an unknown kind": ("fleet/v1/car-1/video", GOOD, "wrong_topic"),
    "too deep": (TOPIC + "/more", GOOD, "wrong_topic"),
    "nothing": (TOPIC, b"", "bad_frame"),
    "text": (TOPIC, b'{"car_id": "car-1"}', "bad_frame"),
    "half a frame": (TOPIC, GOOD[:9], "bad_frame"),
    "Kafka's frame": (TOPIC, confluent_header(1) + GOOD[10:], "bad_frame"),
    "an unknown fingerprint": (TOPIC, b"\xc3\x01" + b"12345678" + GOOD[10:], "unknown_schema"),
    "a fingerprint of reversed bytes": (TOPIC, OTHER_WAY, "unknown_schema"),
    "a report as telemetry": (TOPIC, _report(), "unknown_schema"),
    "telemetry as a report": ("fleet/v1/car-1/maintenance", GOOD, "unknown_schema"),
    "another car": (TOPIC, _telemetry(car="car-2"), "wrong_car"),
    "a longer car": (TOPIC, _telemetry(car="car-11"), "wrong_car"),
    "a frame only": (TOPIC, GOOD[:10], "wrong_car"),
    "cut": (TOPIC, GOOD[:-1], "malformed_record"),
    "cut to the car": (TOPIC, GOOD[:16], "malformed_record"),
    "too long": (TOPIC, _telemetry(seq=2**34 - 1) + b"\0", "malformed_record"),
    "model too long": (TOPIC, _telemetry(V2, seq=2**34 - 1, model="m" * 63) + b"\0", "malformed_record"),
    "larger than allowed": (TOPIC, GOOD + bytes(1_000), "oversized"),
    "large garbage": (TOPIC, bytes(1_001), "oversized"),
    "a cut report": ("fleet/v1/car-1/maintenance", _report()[:-1], "malformed_record"),
    "a report and more": ("fleet/v1/car-1/maintenance", _report() + b"\0", "malformed_record"),
    "a report with the symbol before the first": (
        "fleet/v1/car-1/maintenance",
        _report().replace(b"tire_1_1\0", b"tire_1_1\1"),
        "malformed_record",
    ),
    "a report whose inspected is neither 0 nor 1": (
        "fleet/v1/car-1/maintenance",
        _report()[:-2] + b"\xff\0",
        "malformed_record",
    ),
    "a report with the branch before the first": (
        "fleet/v1/car-1/maintenance",
        _report()[:-1] + b"\3",
        "malformed_record",
    ),
    "another car's report": ("fleet/v1/car-1/maintenance", _report(car_id="car-2"), "wrong_car"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(router: Router, name: str):
    """Each kind of bad message has its reason and a detail; the next good message passes."""
    topic, payload, reason = REFUSED[name]
    with pytest.raises(Malformed) as refusal:
        router.route(topic, payload)
    assert refusal.value.reason == reason
    assert refusal.value.detail
    assert router.route(TOPIC, GOOD) is not None


def test_every_cut_of_a_record_is_refused(router: Router):
    """No prefix of a record whose seq takes one byte is forwarded: its length shows the cut."""
    for size in range(len(GOOD)):
        with pytest.raises(Malformed):
            router.route(TOPIC, GOOD[:size])
