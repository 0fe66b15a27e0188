"""A deployment's own telemetry schemas, which replace the package's."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contract import schema as module
from contract.records import confluent_header
from contract.schema import SCHEMAS, Schema, read
from contract.signals import read as read_signals

BIKES = Path(__file__).parents[3] / "k8s/components/own-schema"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example, which a test may break."""
    for name in ("telemetry.v1.avsc", "signals.toml"):
        shutil.copy(BIKES / name, tmp_path)
    return tmp_path


@pytest.fixture
def changed(folder: Path) -> Callable[..., Path]:
    """The folder, with some keys of its telemetry.v1.avsc changed; None removes one."""

    def change(**keys: Any) -> Path:
        path = folder / "telemetry.v1.avsc"
        definition = json.loads(path.read_text()) | keys
        path.write_text(json.dumps({key: value for key, value in definition.items() if value is not None}))
        return folder

    return change


def _fields(*, without: str = "", kind: Any = "float", name: str = "speed") -> list[dict[str, Any]]:
    """The fields of a schema with one signal, `name`."""
    time = {"type": "long", "logicalType": "timestamp-millis"}
    every = {"car_id": "string", "seq": "long", "sampled_at": time, name: kind}
    return [{"name": key, "type": value} for key, value in every.items() if key != without]


def test_only_telemetry_is_replaced(folder: Path):
    """The only telemetry schema is the folder's; every other record type is the package's."""
    found = {(schema.name, schema.version): schema for schema in read(folder)}
    ours = {(schema.name, schema.version): schema for schema in SCHEMAS}
    assert found[("telemetry", 1)].fields[-1]["name"] == "tire_pressure"
    assert {key for key in ours if key[0] != "telemetry"} == {key for key in found if key[0] != "telemetry"}
    assert [key for key in found if key[0] == "telemetry"] == [("telemetry", 1)]
    assert found[("maintenance", 1)] == ours[("maintenance", 1)]


def test_without_a_folder_all_are_the_package_s():
    """Without the variable nothing changes."""
    assert read(None) == SCHEMAS
    assert module.SIGNALS_FILE.parent == Path(module.__file__).parent / "schemas"


OIL = {"name": "oil_temp", "type": "float", "default": -273.15}


@pytest.fixture
def second(folder: Path) -> Callable[[list[dict[str, Any]]], Path]:
    """The folder with a telemetry.v2.avsc of these fields."""

    def write(fields: list[dict[str, Any]]) -> Path:
        definition = json.loads((folder / "telemetry.v1.avsc").read_text())
        text = json.dumps(definition | {"schema_id": 102, "fields": fields})
        (folder / "telemetry.v2.avsc").write_text(text)
        return folder

    return write


@pytest.fixture
def first(folder: Path) -> list[dict[str, Any]]:
    """The fields of the example's version 1."""
    fields: list[dict[str, Any]] = json.loads((folder / "telemetry.v1.avsc").read_text())["fields"]
    return fields


def test_a_later_version_may_add_signals_and_strings(second: Any, first: list[dict[str, Any]]):
    """Signals at the end, strings before seq, each with a default."""
    model = {"name": "vehicle_model", "type": "string", "default": "unknown"}
    versions = [s for s in read(second([first[0], model, *first[1:], OIL])) if s.name == "telemetry"]
    assert [schema.version for schema in versions] == [1, 2]
    assert versions[1].names("float") == (*versions[0].names("float"), "oil_temp")


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda fields: fields[:-1], "tire_pressure of version 1 must stay"),
        (lambda fields: [*fields[:-1], OIL], "tire_pressure of version 1 must stay"),
        (lambda fields: [*fields[:3], *fields[:2:-1]], "must begin with those of version 1 in their order"),
        (lambda fields: [*fields[:3], OIL, *fields[3:]], "must begin with those of version 1 in their order"),
        (lambda fields: [*fields, {"name": "oil_temp", "type": "float"}], "oil_temp must have a default"),
    ],
    ids=["removed", "renamed", "reordered", "inserted", "no default"],
)
def test_a_later_version_that_would_break_records_is_refused(
    second: Any, first: list[dict[str, Any]], change: Callable[..., Any], wrong: str
):
    """The message names the file, the signal and what to do instead."""
    with pytest.raises(ValueError, match=rf"telemetry\.v2\.avsc: .*{wrong}"):
        read(second(change(first)))


def test_settings_of_the_example_fit_its_schema(folder: Path):
    """signals.toml has exactly the six signals of the schema."""
    (own,) = [schema for schema in read(folder) if schema.name == "telemetry"]
    signals = tuple(f["name"] for f in own.fields if f["type"] == "float")
    settings = read_signals(folder / "signals.toml", signals)
    assert [signal.name for signal in settings.signals] == list(signals)
    assert len(signals) == 6


def test_fingerprint_and_frame_are_as_of_any_schema(folder: Path, crc_64_avro: Callable[[bytes], int]):
    """It travels like the package's: 8 bytes of CRC-64-AVRO on MQTT, its id in Kafka."""
    import avro.schema

    (own,) = [schema for schema in read(folder) if schema.name == "telemetry"]
    canonical = avro.schema.parse(own.text).canonical_form.replace('{"type":"long"}', '"long"')
    assert own.fingerprint == crc_64_avro(canonical.encode()).to_bytes(8, "little")
    assert confluent_header(own.schema_id) == b"\0\0\0\0\x65"


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        ({"schema_id": None}, "schema_id.*missing"),
        ({"schema_id": 3}, "schema_id 3 belongs to another schema"),
        ({"schema_id": "7"}, "whole number"),
        ({"schema_id": 0}, "whole number"),
        ({"fields": _fields(without="car_id")}, "car_id .string."),
        ({"fields": _fields(without="seq")}, "seq .long."),
        ({"fields": _fields(without="speed")}, "then the signals"),
        ({"fields": _fields(kind="double")}, "plain float"),
        ({"fields": _fields(kind=["null", "float"])}, "plain float"),
        ({"fields": _fields()[::-1]}, "the fields must be"),
        ({"fields": [*_fields(), {"name": "speed", "type": "float"}]}, "twice: speed"),
        ({"fields": _fields(name="no-word")}, "no-word|Field name"),
        ({"fields": None}, "fields"),
    ],
)
def test_a_schema_that_cannot_travel_is_refused(changed: Callable[..., Path], keys: Any, wrong: str):
    """The message names the file and what is wrong in it."""
    with pytest.raises(ValueError, match=rf"(?s)telemetry\.v1\.avsc: .*({wrong})"):
        read(changed(**keys))


def test_a_time_that_is_any_number_is_refused(changed: Callable[..., Path]):
    """sampled_at must be ms since 1970: latencies and slices are computed with it."""
    fields = [*_fields()[:2], {"name": "sampled_at", "type": "long"}, _fields()[3]]
    with pytest.raises(ValueError, match="timestamp-millis"):
        read(changed(fields=fields))


def test_a_folder_that_cannot_be_used_is_refused(folder: Path):
    """It is missing, has no version 1, has other record types, or has a file that is not JSON."""
    with pytest.raises(ValueError, match="is not a folder; it must hold"):
        read(folder / "nowhere")
    (folder / "maintenance.v1.avsc").write_text("{}")
    with pytest.raises(ValueError, match=r"maintenance\.v1\.avsc; only telemetry"):
        read(folder)
    (folder / "maintenance.v1.avsc").unlink()
    (folder / "telemetry.v1.avsc").write_text("{ no JSON")
    with pytest.raises(ValueError, match=r"telemetry\.v1\.avsc: Expecting"):
        read(folder)
    (folder / "telemetry.v1.avsc").rename(folder / "telemetry.v2.avsc")
    with pytest.raises(ValueError, match=r"has no telemetry\.v1\.avsc"):
        read(folder)


def test_schemas_are_values(folder: Path):
    """Read twice they are equal, so a process may compare them."""
    assert {(s.name, s.fingerprint) for s in read(folder)} == {(s.name, s.fingerprint) for s in read(folder)}
    assert all(isinstance(schema, Schema) for schema in read(folder))
