"""The model record and its manifest: what is written is read, what is wrong is refused with a reason."""

import dataclasses
import json
import math

import pytest

from contract import records
from contract.alert_rule import AlertRule
from contract.errors import Malformed
from contract.golden import Golden
from contract.hypotheses import Hypotheses
from contract.manifest import (
    MANIFEST_BYTES_MAX,
    QUANTILES,
    TFLITE_BYTES_MAX,
    Decision,
    Manifest,
    pack,
    sha256,
    unpack,
)
from contract.state_layout import StateLayout
from contract.telemetry import SIGNALS

TFLITE = b"not a graph, but bytes"


ROW = tuple(float(i) for i in range(len(SIGNALS)))
LAYOUT = StateLayout(
    width=4, learning_samples=10, memory_samples=5.5, sample_interval_s=1.0,
    baseline=(1, 2), deviation=(2, 3), units="f00d",
)  # fmt: skip
# Two samples of one car.
GOLDEN = Golden(
    signals=((ROW,), (ROW,)),
    state=((0.0,) * 4,),
    score=((1.0,), (20.0,)),
    contribution=((ROW,), (ROW,)),
    state_after=((2.0, 0.0, 0.0, 0.5),),
)


HYPOTHESES = Hypotheses(columns=(3,), usual=(0.0,), norm=((2.0,),), directions={"battery": ((-1.0,),)})


def manifest(**changes: object) -> Manifest:
    values = {
        "name": "failure-detector",
        "version": 3,
        "parent": 2,
        "created_at": "2026-11-21T10:00:00+00:00",
        "git_revision": "0545d2a",
        "signals": SIGNALS,
        "schema_fingerprint": "00ff",
        "threshold": 2.5,
        "false_alarms_per_car_week": 0.1,
        "alert": AlertRule(smoothing=0.5, close_ratio=0.7),
        "components": {"battery": ("battery_voltage", "battery_percentage")},
        "state": LAYOUT,
        "hypotheses": HYPOTHESES,
        "training_offsets": {"edge.telemetry": {0: (5, 105), 1: (0, 90)}},
        "validation_offsets": {"edge.telemetry": {0: (105, 120)}},
        "seed": 7,
        "metrics": {"candidate": {"auroc": 0.9}, "champion": {}, "baselines": {"max_abs_z": {"auroc": 0.8}}},
        "reference_quantiles": dict.fromkeys(SIGNALS, tuple(QUANTILES)),
        "golden": GOLDEN,
        "tflite_sha256": sha256(TFLITE),
        "tflite_bytes": len(TFLITE),
        "decision": Decision(published=True, reasons=("better",)),
    }
    return Manifest(**values | changes)  # type: ignore[arg-type]


GOLDEN_DOCUMENT = json.loads(manifest().to_json())["golden"]
HYPOTHESES_DOCUMENT = json.loads(manifest().to_json())["hypotheses"]
STATE_DOCUMENT = json.loads(manifest().to_json())["state"]


def record(document: dict[str, object], tflite: bytes = TFLITE, version: int = 3) -> bytes:
    text = json.dumps(document)
    body = {"name": "failure-detector", "version": version, "manifest": text, "tflite": tflite}
    return records.encode("model", body)


def document(**changes: object) -> dict[str, object]:
    return json.loads(manifest().to_json()) | changes  # type: ignore[no-any-return]


def test_a_packed_model_is_read_back_whole() -> None:
    """pack and unpack are inverse, partition numbers and tuples included."""
    assert unpack(pack(manifest(), TFLITE)) == (manifest(), TFLITE)


def test_values_that_are_not_finite_travel_as_null() -> None:
    """A missing signal in a golden vector is null in JSON and NaN again when read."""
    row = (math.nan, *[1.0] * (len(SIGNALS) - 1))
    golden = dataclasses.replace(GOLDEN, signals=((row,), (row,)), score=((math.inf,), (1.0,)))
    text = manifest(golden=golden).to_json()
    json.loads(text, parse_constant=pytest.fail)
    read = Manifest.from_json(text).golden
    assert math.isnan(read.signals[0][0][0])
    assert math.isnan(read.score[0][0])
    assert read.signals[0][0][1:] == row[1:]


def test_a_manifest_of_an_unknown_version_is_refused() -> None:
    """The version is looked at before anything else in the manifest."""
    with pytest.raises(Malformed, match="99, this program reads 2") as caught:
        unpack(record({"manifest_version": 99}))
    assert caught.value.reason == "unknown_manifest_version"


def test_a_manifest_of_before_there_were_hypotheses_is_read() -> None:
    """It names components by the signals that speak of them, as it did then."""
    old = document()
    del old["hypotheses"]
    assert Manifest.from_json(json.dumps(old)) == manifest(hypotheses=None)


def test_a_trial_is_written_only_where_there_is_one() -> None:
    """Programs of before there were trials read every champion; they do not read the challenger's key."""
    assert "share" not in document()["decision"]  # type: ignore[operator]
    challenger = manifest(decision=Decision(published=True, reasons=("on trial",), share=0.1, held=True))
    assert unpack(pack(challenger, TFLITE)) == (challenger, TFLITE)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_of_the_cars_is_a_share(share: float) -> None:
    """0 is a shadow and 1 has all cars."""
    text = json.dumps(document(decision={"published": True, "reasons": [], "share": share, "held": False}))
    with pytest.raises(Malformed, match="must be 0 to 1"):
        Manifest.from_json(text)


def test_missing_and_unknown_fields_are_named() -> None:
    """A manifest is refused by the names of the fields it lacks or has too many."""
    lacking = document()
    del lacking["threshold"], lacking["seed"]
    with pytest.raises(Malformed, match="missing: seed, threshold"):
        Manifest.from_json(json.dumps(lacking))
    with pytest.raises(Malformed, match="unknown: colour"):
        Manifest.from_json(json.dumps(document(colour="red")))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", "3"),
        ("version", True),
        ("threshold", "high"),
        ("signals", "speed"),
        ("metrics", []),
        ("golden", GOLDEN_DOCUMENT | {"signals": [[[1.0]], [[1.0]]]}),
        ("golden", GOLDEN_DOCUMENT | {"signals": GOLDEN_DOCUMENT["signals"][:1]}),
        ("golden", GOLDEN_DOCUMENT | {"score": [[1.0], [20.0, 3.0]]}),
        ("golden", GOLDEN_DOCUMENT | {"state_after": [[2.0]]}),
        ("state", {"width": 4}),
        ("state", STATE_DOCUMENT | {"width": 65}),
        ("state", STATE_DOCUMENT | {"learning_samples": 0}),
        ("state", STATE_DOCUMENT | {"baseline": [1, 3]}),
        ("state", STATE_DOCUMENT | {"deviation": [4, 5]}),
        ("state", STATE_DOCUMENT | {"baseline": [0, 1]}),
        ("hypotheses", HYPOTHESES_DOCUMENT | {"usual": []}),
        ("hypotheses", HYPOTHESES_DOCUMENT | {"norm": [["2"]]}),
        ("hypotheses", HYPOTHESES_DOCUMENT | {"directions": {"battery": [-1.0]}}),
        ("hypotheses", HYPOTHESES_DOCUMENT | {"columns": [LAYOUT.width]}),
        ("alert", {"smoothing": 0.0, "close_ratio": 0.5}),
        ("alert", None),
        ("components", {"battery": "battery_voltage"}),
        ("golden", {"signals": []}),
        ("decision", {"published": 1, "reasons": []}),
        ("decision", None),
        ("training_offsets", {"edge.telemetry": {"0": [1]}}),
        ("training_offsets", {"edge.telemetry": {"zero": [1, 2]}}),
        ("reference_quantiles", {"speed": [1.0]}),
        ("threshold", 10**400),
    ],
)
def test_a_field_of_a_wrong_kind_is_named(name: str, value: object) -> None:
    """Each field has one type; another one is refused by the field's name."""
    with pytest.raises(Malformed, match=f"malformed_manifest: {name}: "):
        Manifest.from_json(json.dumps(document(**{name: value})))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000])
def test_what_is_no_json_object_is_refused(text: str) -> None:
    """Any other text is a malformed manifest, never another error."""
    with pytest.raises(Malformed, match="malformed_manifest"):
        Manifest.from_json(text)


def test_other_bytes_than_the_manifest_says_are_refused() -> None:
    """A graph with a flipped byte or cut short does not pass the checksum."""
    for tflite in (b"N" + TFLITE[1:], TFLITE[:-1]):
        with pytest.raises(Malformed, match="bad_checksum"):
            unpack(record(document(), tflite))
        with pytest.raises(Malformed, match="bad_checksum"):
            pack(manifest(), tflite)


def test_other_signals_are_refused() -> None:
    """A model that judges a signal without a column is refused; the message says what to do."""
    with pytest.raises(
        Malformed, match=r"^other_signals: .* judges no_such_signal, .*: roll out this program"
    ):
        unpack(record(document(signals=[*SIGNALS[:-1], "no_such_signal"])))


def test_a_model_may_judge_some_of_the_signals() -> None:
    """Its golden vectors have as many values as it judges signals."""
    few = list(SIGNALS[:2])
    golden = {
        key: [[row[:2] for row in rows] for rows in GOLDEN_DOCUMENT[key]]
        for key in ("signals", "contribution")
    }
    read, _ = unpack(record(document(signals=few, golden=GOLDEN_DOCUMENT | golden)))
    assert read.signals == SIGNALS[:2]


def test_a_graph_over_the_limit_is_neither_packed_nor_read() -> None:
    """512 KiB is the most a model record carries."""
    big = b"x" * (TFLITE_BYTES_MAX + 1)
    changed = {"tflite_bytes": len(big), "tflite_sha256": sha256(big)}
    with pytest.raises(Malformed, match="too_large"):
        pack(manifest(**changed), big)
    with pytest.raises(Malformed, match="too_large"):
        unpack(record(document(**changed), big))


def test_a_manifest_that_would_not_fit_beside_the_graph_is_not_packed() -> None:
    """Golden vectors without end are refused where they are made, not by Kafka."""
    with pytest.raises(Malformed, match="too_large"):
        pack(manifest(git_revision="0" * MANIFEST_BYTES_MAX), TFLITE)


def test_a_graph_without_state_has_no_layout() -> None:
    """null stands for no state, and is read as such."""
    assert Manifest.from_json(manifest(state=None, hypotheses=None).to_json()).state is None


def test_a_record_that_contradicts_its_manifest_is_refused() -> None:
    """Name and version stand in the record and in the manifest and must agree."""
    with pytest.raises(Malformed, match="differs between record and manifest"):
        unpack(record(document(), version=4))


def test_a_record_of_another_schema_is_no_model() -> None:
    """A maintenance report on the models topic is refused by its schema."""
    report = {
        "car_id": "car-1", "report_id": "r", "component": "tyre", "action": "failed",
        "occurred_at": 0, "reported_at": 0,
    }  # fmt: skip
    with pytest.raises(Malformed, match="unknown_schema"):
        unpack(records.encode("maintenance", report))
