"""Valid inputs of each target, made by our own writers: what is mutated begins with these."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from tempfile import TemporaryDirectory

import mqtt5
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from contract import records
from contract.alert_rule import AlertRule
from contract.evidence import LEVELS
from contract.manifest import sha256
from contract.records import confluent_header, single_object_header
from contract.schema import SCHEMAS, SIGNALS_FILE, Schema, latest, versions
from contract.telemetry import encode, prefix
from contract.topics import mqtt_topic
from files import folder
from simulator.journal import Journal
from tests.conftest import MEAN, SPREAD, Remembering
from tests.fuzz.surroundings import NOW_S
from tests.fuzz.targets import CAR, JOURNAL, SETTINGS
from trainer.judge import exam

KEPT = Path(__file__).parent / "kept"
_NOW_MS = int(NOW_S * 1_000)


def of_target(name: str) -> list[bytes]:
    """The valid inputs of a target, and the kept ones: those that were findings once."""
    kept = [path.read_bytes() for path in sorted((KEPT / name).glob("*"))]
    return [*VALID[name](), *kept]


def telemetry(schema: Schema | None = None, *, framed: bool = True) -> bytes:
    """One record, with Kafka's frame or with that of MQTT."""
    schema = schema or latest("telemetry")
    head = confluent_header(schema.schema_id) if framed else single_object_header(schema)
    signals = MEAN[None, : len(schema.names("float"))]
    return encode([head + prefix(schema, CAR)], np.array([300]), np.array([_NOW_MS]), signals)[0]


def _record(schema: Schema) -> bytes:
    """A record of any schema with small values."""
    return records.confluent_header(schema.schema_id) + records.body(
        schema, {each["name"]: _value(each["type"]) for each in schema.fields}
    )


def _value(kind: object) -> object:
    if isinstance(kind, list):
        return _value(kind[-1])
    if isinstance(kind, dict):
        inner = kind["type"]
        if inner == "record":
            return {each["name"]: _value(each["type"]) for each in kind["fields"]}
        if inner == "enum":
            return kind["symbols"][0]
        return [_value(kind["items"])] if inner == "array" else _value(inner)
    return {"string": CAR, "bytes": b"ab", "boolean": True, "null": None, "float": 1.5, "double": 1.5}.get(
        str(kind), 3
    )


def _maintenance() -> list[bytes]:
    found = []
    for schema in versions("maintenance"):
        record = {each["name"]: _value(each["type"]) for each in schema.fields}
        times = {name: _NOW_MS for name in record if name.endswith("_at")}
        found.append(single_object_header(schema) + records.body(schema, record | times))
    return found


def _watched() -> list[bytes]:
    newest = [_record(latest(name)) for name in ("alert", "maintenance")]
    beyond = {"name": "speed", "far_below": 1, "below": 2, "above": 3, "far_above": 1}
    evidence = {
        "scorer": "s", "model_name": "failure-detector", "model_version": 3, "share": None, "since": _NOW_MS,
        "until": _NOW_MS + 1_000, "judged": 100, "crossings": [1] * len(LEVELS), "alone": 0, "unwritten": 0,
        "checked": 9, "broken": 1, "cars": 20, "learning": 1, "strange": 1, "open": 1, "signals": [beyond],
    }  # fmt: skip
    return [*newest, records.encode("evidence", evidence)]


def _settings() -> list[bytes]:
    """Every setting as a line of the environment; those without a default are addresses."""
    found = []
    for service, settings in SETTINGS.items():
        lines = {each.name: _text(each.default) for each in fields(settings) if each.default is not MISSING}
        lines |= {each.name: "a:1,b:2" for each in fields(settings) if each.default is MISSING}
        found.append("\n".join(f"{service}_{name.strip('_').upper()}={text}" for name, text in lines.items()))
    return [text.encode() for text in found]


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def _model() -> Remembering:
    return Remembering.of(MEAN, SPREAD)


def _states() -> list[bytes]:
    state = np.zeros(_model().layout.width, "<f4").tobytes()
    fields = {
        "car_id": CAR, "model_name": "failure-detector", "seq": 5, "sampled_at": _NOW_MS, "alert_level": 1.5,
        "alert": {"seq": 4, "opened_at": _NOW_MS, "component": "tire", "confidence": 0.5},
        "states": [{"model_version": 3, "state": state}, {"model_version": 2, "state": state}],
    }  # fmt: skip
    return [records.encode("car_state", fields), records.encode("car_state", fields | {"alert": None})]


def _packets() -> list[bytes]:
    publish = mqtt5.PublishPacket(
        mqtt_topic(CAR, "telemetry"), telemetry(framed=False), qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=7
    ).write()
    acknowledged = mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode(1)]).write()
    return [
        mqtt5.ConnAckPacket(session_present=True).write() + acknowledged,
        publish + publish,
        mqtt5.PubAckPacket(7).write() + mqtt5.PingRespPacket().write() + mqtt5.DisconnectPacket().write(),
    ]


def _tables() -> list[bytes]:
    times = ["2026-01-01T00:00:00", "2026-01-01T00:00:01", None]
    out = io.BytesIO()
    pq.write_table(pa.table({"x": [1.0, None, 3.0], "at": times, "m": ["a", "b", "a"]}), out)
    texts = [
        "x,at,m\n1.5,2026-01-01T00:00:00Z,a\n,2026-01-01T00:00:01Z,b\n",
        "at;x;m\n1796000000;1,5;a\n1796000001;2;a\n",
        "\ufeffx\tat\tm\n1\t5\ta\n",
    ]
    return [out.getvalue(), *(text.encode() for text in texts)]


def _file_manifest() -> list[bytes]:
    manifest = folder.FileManifest(
        created_at="2026-01-01T00:00:00Z", git_revision="0" * 40, data="x.csv", signals=("x",), conditions=(),
        left_out=(), group=None, time="at", interval_s=1.0, learning_samples=8, memory_samples=4.0,
        train_until="2026-01-02", training_rows=9, machines=1, threshold=1.0, alert=AlertRule(),
        false_alarms_per_machine_week=0.1, seed=1, metrics={"n": 1}, tflite_sha256=sha256(b"graph"),
        tflite_bytes=5,
    )  # fmt: skip
    return [json.dumps(asdict(manifest)).encode()]


def _machines() -> list[bytes]:
    one = np.zeros(1)
    states = folder.States(("m",), np.zeros((1, 3), np.float32), one, one > 0, one)
    out = io.BytesIO()
    np.savez_compressed(out, **(asdict(states) | {"machines": np.array(states.machines)}))
    plain = io.BytesIO()
    np.savez(plain, **(asdict(states) | {"machines": np.array(states.machines)}))
    return [out.getvalue(), plain.getvalue()]


def _exam() -> list[bytes]:
    rows, car = np.zeros((4, 2), np.float32), np.array([0, 0, 1, 1])
    return [exam.pack(exam.Exam(("a", "b"), (b"x", b"y"), 1, 1, 1.0, rows, car, rows, car, reported=None))]


def _journal() -> list[bytes]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "cars-000000.journal"
        Journal(path, JOURNAL).close()
        return [path.read_bytes()]


VALID: Mapping[str, Callable[[], list[bytes]]] = {
    "telemetry-from-mqtt": lambda: [telemetry(each, framed=False) for each in versions("telemetry")],
    "telemetry-from-kafka": lambda: [telemetry(each) for each in versions("telemetry")],
    "any-record": lambda: [_record(each) for each in SCHEMAS],
    "maintenance-from-mqtt": _maintenance,
    "car-state": _states,
    "watched-records": _watched,
    "service-settings": _settings,
    "model-manifest": lambda: [_model().manifest().to_json().encode()],
    "model-record": lambda: [_model().record()],
    "mqtt-packets": _packets,
    "table-file": _tables,
    "model-folder": _file_manifest,
    "machine-states": _machines,
    "model-exam": _exam,
    "car-journal": _journal,
    "own-schema": lambda: [latest("telemetry").text.encode()],
    "own-signals": lambda: [SIGNALS_FILE.read_bytes()],
    "kafka-properties": lambda: [b"# comment\nsecurity.protocol=SSL\n ssl.ca.location = /a b\n"],
}
