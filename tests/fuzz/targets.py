"""Every parser of bytes that others make: what it may raise, and what must hold where it raises nothing.

A target takes any bytes. It returns where a parser takes them, and where it refuses them in the declared way;
everything else is a finding.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bridge.forwarding import Forwarder
from bridge.settings import Settings as BridgeSettings
from bridge.shard import Shard
from contract import manifest, records, schema, signals
from contract.errors import Malformed
from contract.evidence import Evidence
from contract.foresight import AlertVerdicts
from contract.telemetry import SIGNALS
from contract.topics import TELEMETRY, mqtt_topic
from files import BadData, folder, recording, table
from plumbing import kafka
from plumbing.mqtt import ConnectionLost, parse
from plumbing.names import Names
from plumbing.settings import SettingsError, load
from scorer.detector import AnomalyDetector
from scorer.settings import Settings as ScorerSettings
from scorer.snapshots import Snapshots
from simulator.journal import Identity, Journal
from simulator.settings import Settings as SimulatorSettings
from tests.fuzz.surroundings import (
    NOW_S,
    Nowhere,
    Wire,
    bridge_settings,
    decoder,
    fresh_folder,
    good_value,
    model,
    router,
)
from trainer.judge import exam
from trainer.settings import Settings as TrainerSettings
from trainer.watch.counts import TrialCounts
from trainer.watch.looks import Looks

CAR = "car-1"
JOURNAL = Identity(seed=1, first=0, cars=2, ring=6, scenario=7, epoch_ms=int(NOW_S * 1_000))
SETTINGS: dict[str, type[Any]] = {
    "BRIDGE": BridgeSettings,
    "SCORER": ScorerSettings,
    "SIMULATOR": SimulatorSettings,
    "TRAINER": TrainerSettings,
}
Target = Callable[[bytes], None]


class Finding(AssertionError):
    """A parser did something else than it declares."""


def telemetry_from_mqtt(data: bytes) -> None:
    """The bridge's router. What it takes, the scorer and every Avro reader read, as the same numbers."""
    try:
        forwarded = router().route(mqtt_topic(CAR, "telemetry"), data)
    except Malformed:
        return
    assert forwarded is not None
    topic, key, value = forwarded
    decoded = decoder().decode([value], [key])
    if topic != TELEMETRY or decoded.rejected:
        raise Finding(f"the bridge takes what the scorer refuses: {decoded.rejected}")
    _agree(value, decoded)


def telemetry_from_kafka(data: bytes) -> None:
    """The scorer's decoder, alone and among good records. What it takes, every Avro reader reads likewise."""
    key = CAR.encode()
    decoded = decoder().decode([data], [key])
    if not decoded.rejected:
        _agree(data, decoded)
    good = good_value()
    among = decoder().decode([good, data, good], [key] * 3)
    if [row for row, _ in among.rejected] != [1] * len(decoded.rejected):
        raise Finding("the decoder judges a record otherwise among good ones")


def _agree(value: bytes, decoded: Any) -> None:
    try:
        _, record = records.decode(value)
    except Malformed as error:
        raise Finding(f"a generic Avro reader refuses what the decoder takes: {error}") from error
    numbers = np.array([record.get(name, np.nan) for name in SIGNALS], np.float32)
    same = (int(decoded.seq[0]), int(decoded.sampled_at_ms[0])) == (record["seq"], record["sampled_at"])
    if not same or not np.array_equal(decoded.signals[0], numbers, equal_nan=True):
        raise Finding("the decoder and a generic Avro reader read different numbers")


def any_record(data: bytes) -> None:
    """A record of any schema from Kafka."""
    with _refusing(Malformed):
        records.decode(data)


def maintenance_from_mqtt(data: bytes) -> None:
    """A workshop's report at the bridge. What it takes is read back from Kafka."""
    try:
        forwarded = router().route(mqtt_topic(CAR, "maintenance"), data)
    except Malformed:
        return
    assert forwarded is not None
    records.decode(forwarded[2])


def car_state(data: bytes) -> None:
    """A car's state from Kafka: refused ones are counted, and the car begins anew."""
    detector = AnomalyDetector()
    detector.add(model(3))
    detector.challenge(model(4))
    snapshots = Snapshots(detector, "failure-detector", 1.0, lambda version: None)
    snapshots.restore({CAR.encode(): (0, data), b"car-2/challenger": (0, data)})


def watched_records(data: bytes) -> None:
    """Evidence, alerts and reports, as the watcher and the demo's screen add them up."""
    with _refusing(Malformed):
        name, record = records.decode(data)
        counts, looks, verdicts = TrialCounts(3, 4, 0), Looks(60_000), AlertVerdicts()
        if name == "evidence":
            with _refusing(ValueError):
                evidence = Evidence.of(record)
                counts.add(("edge", evidence.scorer), evidence)
                looks.add(("edge", evidence.scorer), evidence)
                looks.add(("edge", evidence.scorer), replace(evidence, until=evidence.until + 120_000))
                looks.over()
        verdicts.take(deque([(name, record)]))
        verdicts.tallies(NOW_S, 0.0)


def model_manifest(data: bytes) -> None:
    """A model's manifest, from the topic of models."""
    with _refusing(Malformed):
        manifest.Manifest.from_json(data.decode(errors="replace"))


def model_record(data: bytes) -> None:
    """A model's record, from the topic of models."""
    with _refusing(Malformed):
        manifest.unpack(data)


def mqtt_packets(data: bytes) -> None:
    """Packets from a broker, at the bridge and at the cars. Whole packets do not depend on what follows."""
    forwarder = Forwarder(router(), Nowhere())  # type: ignore[arg-type]
    with _refusing(ConnectionLost):
        packets, used = parse(data)
        if len(parse(data[:used])[0]) != len(packets):
            raise Finding("fewer packets without the bytes behind them")
        if forwarder.forward(data).used_bytes != used:
            raise Finding("the bridge uses other bytes than the codec")
        shard = Shard(0, bridge_settings(), forwarder.forward, Names())
        shard.connection = Wire(data)  # type: ignore[assignment]
        shard.readable(1.0)


def table_file(data: bytes) -> None:
    """A CSV or Parquet file, for `python -m files`."""
    with _file("data.csv", data) as path, _refusing(BadData, naming=path):
        read = table.read(path, ["x"], ["at", "m"], rows_max=1_000, say=lambda _: None)
        with _refusing(BadData):  # names the column
            recording.from_table(read, ["x"], group="m", time="at", interval_s=1.0)


def model_folder(data: bytes) -> None:
    """The manifest of a model for plain files."""
    with _file("manifest.json", data) as path:
        (path.parent / "model.tflite").write_bytes(b"graph")
        with _refusing(BadData, naming=path.parent):
            folder.load(path.parent)


def machine_states(data: bytes) -> None:
    """The states of the machines of a model for plain files."""
    with _file("states.npz", data) as path, _refusing(BadData, naming=path):
        folder.load_states(path)


def model_exam(data: bytes) -> None:
    """The telemetry that a champion was judged on, from the topic of exams."""
    with _refusing(Malformed):
        exam.unpack(data)


def car_journal(data: bytes) -> None:
    """The journal of a fleet that goes on."""
    identity = JOURNAL
    with _file("cars-000000.journal", data) as path, _refusing(SettingsError, naming=path):
        Journal(path, identity).close()


def own_schema(data: bytes) -> None:
    """A telemetry schema of a deployment's own."""
    with _file("telemetry.v1.avsc", data) as path, _refusing(ValueError, naming=path.parent):
        schema.read(path.parent)


def own_signals(data: bytes) -> None:
    """A signals.toml of a deployment's own."""
    with _file("signals.toml", data) as path, _refusing(ValueError, naming=path):
        signals.read(path, SIGNALS)


def service_settings(data: bytes) -> None:
    """Lines NAME=value as the environment of the services."""
    lines = data.decode(errors="replace").replace("\0", "").splitlines()
    environment = {name: value for name, _, value in (line.partition("=") for line in lines)}
    for prefix, settings in SETTINGS.items():
        with _refusing(SettingsError):
            load(settings, prefix=prefix, argv=[], environ=environment)


def kafka_properties(data: bytes) -> None:
    """A file of Kafka's settings."""
    with _file("kafka.properties", data) as path, _refusing(SettingsError, naming=path):
        kafka.read_properties(path)


TARGETS: Mapping[str, Target] = {
    target.__name__.replace("_", "-"): target
    for target in (
        telemetry_from_mqtt, telemetry_from_kafka, any_record, maintenance_from_mqtt, car_state,
        watched_records, model_manifest, model_record, model_exam, mqtt_packets, car_journal, table_file,
        model_folder, machine_states, own_schema, own_signals, service_settings, kafka_properties,
    )
}  # fmt: skip


@contextmanager
def _refusing(*declared: type[Exception], naming: Path | None = None) -> Iterator[None]:
    """Let pass what a parser declares; where it reads a file, its message must name it."""
    try:
        yield
    except declared as error:
        if type(error) in (UnicodeDecodeError, UnicodeEncodeError) or not str(error).strip():
            raise Finding(f"a message for nobody: {error!r}") from error
        if naming is not None and str(naming) not in str(error):
            raise Finding(f"the message does not name the file: {error}") from error


@contextmanager
def _file(name: str, data: bytes) -> Iterator[Path]:
    path = fresh_folder() / name
    path.write_bytes(data)
    yield path
