"""The schema files: names, ids, fingerprints, and what later versions may change."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import avro.schema
import fastavro
import numpy as np
import pytest

import contract
from contract import telemetry
from contract.records import confluent_header
from contract.schema import SCHEMAS, Schema, get, latest

V1, V2, V3 = (get("telemetry", version) for version in (1, 2, 3))
R1, R2 = (get("maintenance", version) for version in (1, 2))
A1, A2 = (get("audit", version) for version in (1, 2))
C1, C2 = (get("car_state", version) for version in (1, 2))
NEWER = [(V1, V2), (V1, V3), (V2, V3), (R1, R2), (A1, A2), (C1, C2)]  # a version and a newer one

# Id and fingerprint of the schemas that records carry. To change a record, add a version; never edit these.
PUBLISHED = {
    "alert.v1": (7, "98dcc8fc50c3320f"),
    "alert.v2": (14, "db54534261824b95"),
    "anomaly.v1": (4, "ec3c78d4856e423b"),
    "audit.v1": (5, "dc3a791e94f529da"),
    "audit.v2": (12, "cb8f72f07b252016"),
    "car_state.v1": (8, "5777c08db4456403"),
    "car_state.v2": (13, "ac601bb6c636282c"),
    "evidence.v1": (10, "e349991f1848ec82"),
    "maintenance.v1": (3, "ffd5be546318e534"),
    "maintenance.v2": (11, "868438eb77520146"),
    "model.v1": (6, "1c517925d4b18eef"),
    "telemetry.v1": (1, "fde7902d303cc869"),
    "telemetry.v2": (2, "6e4dab3966814114"),
    "telemetry.v3": (9, "363c118ca432738e"),
}


def test_every_file_is_one_schema_with_an_id_of_its_own():
    """Each .avsc is found once, and no two share an id or a fingerprint."""
    files = list((Path(contract.__file__).parent / "schemas").glob("*.avsc"))
    assert len(files) == len(SCHEMAS)
    assert len({s.schema_id for s in SCHEMAS}) == len({s.fingerprint for s in SCHEMAS}) == len(files)


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda s: f"{s.name}.v{s.version}")
def test_fingerprints_are_those_of_the_specification(schema: Schema, crc_64_avro: Callable[[bytes], int]):
    """Our 8 bytes are the spec's CRC-64-AVRO of the canonical form that Apache's library makes."""
    canonical = avro.schema.parse(schema.text).canonical_form
    # It leaves out the specification's rule [PRIMITIVES] where a logical type is taken away.
    canonical = canonical.replace('{"type":"long"}', '"long"')
    assert schema.fingerprint == crc_64_avro(canonical.encode()).to_bytes(8, "little")


def test_the_specification_s_own_fingerprint(crc_64_avro: Callable[[bytes], int]):
    """The test's CRC gives the value that the Avro project publishes for the schema "int"."""
    assert crc_64_avro(b'"int"') == 0x7275D51A3F395C8F


def test_documentation_may_change_without_a_new_version():
    """Neither doc nor schema_id is part of the fingerprint."""
    text = json.loads(V1.text)
    text["doc"] = "other words"
    text["schema_id"] = 77
    assert avro.schema.parse(json.dumps(text)).canonical_form == avro.schema.parse(V1.text).canonical_form


def test_published_versions_never_change():
    """Editing a published file in place makes every record of it unreadable; a new file joins PUBLISHED."""
    found = {f"{each.name}.v{each.version}": (each.schema_id, each.fingerprint.hex()) for each in SCHEMAS}
    edited = sorted(name for name, value in PUBLISHED.items() if found.get(name) != value)
    assert not edited, f"{edited}: restore contract/schemas/*.avsc and add a new version instead"
    added = found.keys() - PUBLISHED.keys()
    assert not added, f"add to PUBLISHED: { {name: found[name] for name in added} }"


def test_latest_is_the_newest_version():
    """latest() gives the highest version; an unknown name or version is a KeyError."""
    assert latest("telemetry").version == max(s.version for s in SCHEMAS if s.name == "telemetry")
    with pytest.raises(KeyError, match="nothing"):
        latest("nothing")
    with pytest.raises(KeyError, match="99"):
        get("telemetry", 99)


def test_signals_are_the_floats_of_the_newest_version():
    """Older versions end with the first of them, in the same order."""
    assert latest("telemetry").names("float") == telemetry.SIGNALS
    assert V3.names("float") == (*V1.names("float"), "motor_temp")
    assert V3.names("float") == telemetry.SIGNALS[: len(V3.names("float"))]
    assert V1.names("float") == V2.names("float")


def _record(schema: Schema) -> dict[str, Any]:
    if schema.name == "maintenance":
        return _report(schema)
    if schema.name != "telemetry":
        return _scored(schema)
    values: dict[str, Any] = {"car_id": "car-1", "seq": 7, "sampled_at": 1_790_000_000_000}
    if schema is not V1:
        values["vehicle_model"] = "Zoé"
    return values | {name: float(i) / 2 for i, name in enumerate(schema.names("float"))}


def _report(schema: Schema) -> dict[str, Any]:
    values = {"car_id": "car-1", "report_id": "r1", "component": "tire_1_1", "action": "repaired"}
    times = {"occurred_at": 1_790_000_000_000, "reported_at": 1_790_000_000_001}
    return values | times | ({} if schema is R1 else {"inspected": True, "alert_id": "car-1-7"})


def _scored(schema: Schema) -> dict[str, Any]:
    source = {} if schema.version == 1 else {"group": "scorer", "topic_id": "Yoio5r6GT7e4NOMnYPzKSA"}
    if schema.name == "audit":
        numbers = {each["name"]: 7 for each in A1.fields if each["type"] in ("int", "long")}
        return {**numbers, "scored_at": 1_790_000_000_000, "scorer": "scorer-0", **source}
    state = {"car_id": "car-1", "model_name": "m", "seq": 7, "sampled_at": 1_790_000_000_000}
    rest = {"alert_level": 0.5, "alert": None, "states": [{"model_version": 1, "state": b"1234"}]}
    return state | rest | source


def _resolved(writer: Schema, reader: Schema, body: bytes) -> dict[str, Any]:
    record = fastavro.schemaless_reader(io.BytesIO(body), writer.parsed, reader.parsed)
    assert isinstance(record, dict)
    return record


@pytest.mark.parametrize(("older", "newer"), NEWER, ids=lambda s: f"{s.name}.v{s.version}")
def test_a_newer_reader_reads_older_records(older: Schema, newer: Schema, apache: Any):
    """Backward: Apache's library and fastavro fill what the older record lacks with the defaults."""
    body = apache.write(older, _record(older))
    added = {field["name"]: field.get("default") for field in newer.fields if field not in older.fields}
    read = apache.read(older, body, newer)
    assert read == _resolved(older, newer, body)
    assert read.pop("states", None) == _record(older).get("states")  # approx takes no lists
    expected = {name: value for name, value in (added | _record(older)).items() if name != "states"}
    assert read == pytest.approx(expected)


@pytest.mark.parametrize(("older", "newer"), NEWER, ids=lambda s: f"{s.name}.v{s.version}")
def test_an_older_reader_reads_newer_records(older: Schema, newer: Schema, apache: Any):
    """Forward: both libraries drop what the older version does not know and keep the rest."""
    body = apache.write(newer, _record(newer))
    expected = {name: value for name, value in _record(newer).items() if name in _record(older)}
    assert apache.read(newer, body, older) == _resolved(newer, older, body) == expected


def test_the_vectorised_decoder_agrees_with_a_general_reader(apache: Any):
    """One batch of all versions gives seq, time and, by name, the signals; NaN where a version lacks one."""
    versions = (V1, V2, V3)
    values = [confluent_header(v.schema_id) + apache.write(v, _record(v)) for v in versions]
    decoded = telemetry.Decoder({v.schema_id: v for v in versions}).decode(values, [b"car-1"] * 3)
    for row, version in enumerate(versions):
        expected = _record(version)
        assert decoded.seq[row] == expected["seq"]
        assert decoded.sampled_at_ms[row] == expected["sampled_at"]
        signals = [expected.get(name, np.nan) for name in telemetry.SIGNALS]
        np.testing.assert_array_equal(decoded.signals[row], signals)
