"""Models replayed over a stream of records: the alerts of the scorers, whatever the blocks."""

from typing import Any

import numpy as np
import pytest

from contract.alert_rule import SMOOTHED
from contract.telemetry import SIGNALS, Decoded, Floats
from plumbing.life import WorldDown
from scorer.model import Model
from tests.conftest import MEAN, SPREAD
from tests.unit.scorer.fleet import SAMPLED_AT_MS, Fleet
from trainer.history.replayed import ReplayedCars, ReplayedModel
from trainer.history.rescore import as_text, judged
from trainer.log_slice import MaintenanceReport

CARS, SAMPLES, LEARNING = 12, 60, 8
NAMES = [f"car-{number:02d}" for number in range(CARS)]
Stream = tuple[list[str], np.ndarray, Floats]  # car, seq and signals of each record, in order of arrival


@pytest.fixture
def stream() -> Stream:
    """Cars of which every third drifts for a while; some records come twice or late."""
    rng = np.random.default_rng(4)
    signals = MEAN + 0.3 * SPREAD * rng.normal(size=(SAMPLES, CARS, len(SIGNALS))).astype(np.float32)
    signals[25:45, ::3, SIGNALS.index("coolant_temp")] += 6 * SPREAD[SIGNALS.index("coolant_temp")]
    cars, seq = NAMES * SAMPLES, np.repeat(np.arange(1, SAMPLES + 1), CARS)
    rows = np.insert(np.arange(CARS * SAMPLES), [200, 201, 400], [180, 199, 350])
    return [cars[row] for row in rows], seq[rows], signals.reshape(-1, len(SIGNALS))[rows]


def replay(
    models: list[ReplayedModel], stream: Stream, *ends: int, judged_from: int = LEARNING
) -> ReplayedCars:
    """Give the stream to the models in blocks that end before these records."""
    cars = ReplayedCars(judged_from)
    for first, after in zip((0, *ends), (*ends, len(stream[0])), strict=True):
        names, seq, signals = (part[first:after] for part in stream)
        numbers = np.array([cars.numbers.setdefault(name.encode(), len(cars.numbers)) for name in names])
        block = cars.block(numbers, Decoded(np.arange(len(seq)), seq, SAMPLED_AT_MS + seq, signals))
        for model in models:
            model.take(block)
    return cars


def opened(model: ReplayedModel) -> list[tuple[str, int]]:
    """(car, seq) of the alerts that opened, in order."""
    return sorted((a.car_id, round(a.opened_s * 1000) - SAMPLED_AT_MS) for a in model.verdicts.alerts(np.inf))


def test_the_alerts_are_those_that_scorers_raise(remembering: Any, stream: Stream) -> None:
    """Each model's are those of a scorer with that model alone; repeated and late records move nothing."""
    for expected in (remembering, remembering.shifted(0.5)):
        manifest = expected.manifest(threshold=2.0, alert=SMOOTHED, tflite=expected.tflite)
        fleet = Fleet(Model(manifest, expected.tflite, "litert"))
        for first in range(0, len(stream[0]), 100):
            names, seq, signals = (part[first : first + 100] for part in stream)
            fleet.records(list(zip(names, seq.tolist(), strict=True)), signals)
        model = ReplayedModel(manifest, expected.tflite, 3600)
        cars = replay([model], stream, 300)
        assert opened(model) == sorted((car, seq) for car, seq, opens in fleet.changes if opens)
        assert len(opened(model)) >= CARS / 3
        assert (cars.records, cars.left_out) == (len(stream[0]), 3)
        assert cars.judged_records == CARS * (SAMPLES - LEARNING)


@pytest.mark.parametrize("ends", [(), (1,), (37, 38, 300, 555), tuple(range(50, 700, 50))])
def test_blocks_do_not_change_the_alerts(remembering: Any, stream: Stream, ends: tuple[int, ...]) -> None:
    """However a stream is cut, states and levels go on from block to block."""
    whole, cut = (
        ReplayedModel(remembering.manifest(threshold=2.0, alert=SMOOTHED), remembering.tflite, 3600)
        for _ in range(2)
    )
    replay([whole], stream)
    replay([cut], stream, *ends)
    assert opened(whole) == opened(cut)


def test_nothing_counts_before_every_model_has_learned_the_car(remembering: Any, stream: Stream) -> None:
    """An alert that is open by then counts from the first judged record on; before there is none."""
    model = ReplayedModel(remembering.manifest(threshold=2.0), remembering.tflite, 3600)
    cars = replay([model], stream, judged_from=30)
    assert {seq for _, seq in opened(model)} == {31}
    assert cars.judged_since_ms(b"car-00") == SAMPLED_AT_MS + 31
    assert cars.judged_since_ms(b"car-99") == np.inf


def test_a_state_that_is_not_finite_is_begun_anew(remembering: Any, stream: Stream) -> None:
    """As in the scorers: one infinite value does not silence a car for ever."""
    names, seq, signals = stream
    signals = signals.copy()
    signals[names.index("car-00"), 0] = np.inf
    model = ReplayedModel(remembering.manifest(threshold=2.0, alert=SMOOTHED), remembering.tflite, 3600)
    replay([model], (names, seq, signals))
    assert "car-00" in {car for car, _ in opened(model)}


def test_the_results_are_the_verdicts_on_the_alerts(remembering: Any, stream: Stream) -> None:
    """A drift with a failure reported after it is foreseen; others are false; per component and in all."""
    models = [
        ReplayedModel(
            remembering.manifest(version, threshold=threshold, alert=SMOOTHED), remembering.tflite, 0.03
        )
        for version, threshold in ((16, 2.0), (17, 1e6))
    ]
    cars = replay(models, stream)
    times = {
        "car-00": 40,
        "car-99": 40,
        "car-03": 5,
    }  # the second is unknown, the third was not learned by then
    reports = [
        MaintenanceReport(car.encode(), "tire_1_1", "failed", SAMPLED_AT_MS + at) for car, at in times.items()
    ]
    results = judged(models, cars, reports)
    results["seconds"] = 1.0
    first, second = results["models"]
    assert results["reports"] == 1
    assert (first["all"]["foreseen"], first["all"]["failures"], first["all"]["recall"]) == (1, 1, 1.0)
    assert first["all"]["confirmed"] == 1
    assert (second["all"]["alerts"], second["all"]["recall"]) == (0, 0.0)
    assert first["per_component"]["tire"]["failures"] == 1
    weeks = CARS * (SAMPLES - LEARNING) * 0.001 / 604_800
    assert results["judged_car_weeks"] == pytest.approx(weeks)
    lines = as_text(results).splitlines()
    assert [line.split()[:2] for line in lines[4:] if line.startswith("all")] == [
        ["all", "16"],
        ["all", "17"],
    ]
    assert "2027-01-15T08:00:00+00:00" in lines[0]


def test_an_inspection_judges_the_alerts_of_every_model(remembering: Any, stream: Stream) -> None:
    """Whichever model's alert brought the car in: nothing was found, so the others' were false, too."""
    model = ReplayedModel(remembering.manifest(threshold=2.0, alert=SMOOTHED), remembering.tflite, 3600)
    cars = replay([model], stream)
    inspected = MaintenanceReport(b"car-00", "", "inspected", SAMPLED_AT_MS + SAMPLES)
    (result,) = judged([model], cars, [inspected])["models"]
    assert {a["car_id"] for a in result["alerts"] if a["verdict"] == "false"} == {"car-00"}
    assert result["all"]["pending"] == result["all"]["alerts"] - result["all"]["false"] > 0
    assert result["all"]["failures"] == 0


def test_a_range_in_which_no_car_is_learned_says_so(remembering: Any, stream: Stream) -> None:
    """Not a table of zeros."""
    model = ReplayedModel(remembering.manifest(), remembering.tflite, 3600)
    cars = replay([model], stream, judged_from=1000)
    with pytest.raises(WorldDown, match=r"723 records of 12 cars, none after the 1000 samples"):
        judged([model], cars, [])
