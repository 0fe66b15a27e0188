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
from contract.framing import confluent_header
from contract.schema import Schema, get, latest, schemas

V1, V2 = get("telemetry", 1), get("telemetry", 2)


def test_every_file_is_one_schema_with_an_id_of_its_own():
    """Each .avsc is found once, and no two share an id or a fingerprint."""
    files = list((Path(contract.__file__).parent / "schemas").glob("*.avsc"))
    assert len(files) == len(schemas())
    assert len({s.schema_id for s in schemas()}) == len({s.fingerprint for s in schemas()}) == len(files)


@pytest.mark.parametrize("schema", schemas(), ids=lambda s: f"{s.name}.v{s.version}")
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


def test_latest_is_the_newest_version():
    """latest() gives version 2 of telemetry; an unknown name or version is a KeyError."""
    assert latest("telemetry") == V2
    with pytest.raises(KeyError, match="nothing"):
        latest("nothing")
    with pytest.raises(KeyError, match="99"):
        get("telemetry", 99)


def test_signals_are_the_18_floats_in_order():
    """SIGNALS is what both versions end with, in the same order."""
    assert len(telemetry.SIGNALS) == 18
    for schema in (V1, V2):
        assert tuple(f["name"] for f in schema.fields[-18:]) == telemetry.SIGNALS


def _record(schema: Schema) -> dict[str, Any]:
    values: dict[str, Any] = {"car_id": "car-1", "seq": 7, "sampled_at": 1_790_000_000_000}
    if schema is V2:
        values["vehicle_model"] = "Zoé"
    return values | {name: float(i) / 2 for i, name in enumerate(telemetry.SIGNALS)}


def _resolved(writer: Schema, reader: Schema, body: bytes) -> dict[str, Any]:
    record = fastavro.schemaless_reader(io.BytesIO(body), writer.parsed, reader.parsed)
    assert isinstance(record, dict)
    return record


def test_a_reader_of_version_2_reads_version_1(apache: Any):
    """Backward: Apache's library and fastavro give a v1 record the default model and the same signals."""
    body = apache.write(V1, _record(V1))
    expected = _record(V1) | {"vehicle_model": "unknown"}
    assert apache.read(V1, body, V2) == _resolved(V1, V2, body) == expected


def test_a_reader_of_version_1_reads_version_2(apache: Any):
    """Forward: both libraries drop the model that v1 does not know and keep the rest."""
    body = apache.write(V2, _record(V2))
    assert apache.read(V2, body, V1) == _resolved(V2, V1, body) == _record(V1)


def test_the_vectorised_decoder_agrees_with_schema_resolution(apache: Any):
    """One batch of both versions gives the seq, time and signals that a resolving reader gives."""
    bodies = {schema: apache.write(schema, _record(schema)) for schema in (V1, V2)}
    values = [confluent_header(schema.schema_id) + body for schema, body in bodies.items()]
    decoded = telemetry.Decoder({s.schema_id: s for s in bodies}).decode(values, [b"car-1", b"car-1"])
    for row, (schema, body) in enumerate(bodies.items()):
        expected = _resolved(schema, V1, body)
        assert decoded.seq[row] == expected["seq"]
        assert decoded.sampled_at_ms[row] == expected["sampled_at"]
        np.testing.assert_array_equal(decoded.signals[row], [expected[name] for name in telemetry.SIGNALS])
