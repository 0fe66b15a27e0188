"""How a trial ends: the challenger becomes the champion, is withdrawn, or breaks."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from contract.telemetry import Floats

from .fleet import Fleet
from .trial import CARS, Drive, course, learned, model, taken


@pytest.fixture
def make(remembering: Any) -> Any:
    return partial(model, remembering)


@pytest.fixture
def drive(remembering: Any) -> Drive:
    return Drive(remembering)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_promotion_costs_no_memory(make: Any, drive: Drive, share: float) -> None:
    """The states go on as they are, all cars are scored by the new champion at once, and alerts stay open."""
    trial = learned(Fleet(make(1)), drive, make(2, by=0.5, share=share))
    for _ in range(12):
        trial.samples(CARS, drive.signals(3.0))
    assert trial.detector.trial
    changes, states = list(trial.changes), trial.detector.trial.states.column.values[: len(CARS)].copy()
    assert changes
    trial.detector.add(make(2, by=0.5, threshold=5.0))
    assert trial.detector.trial is None
    assert trial.detector.generations.counts() == (0, 0, 0)
    for number, car in enumerate(CARS):
        np.testing.assert_array_equal(trial.state(car, 2), states[number])
    signals = drive.signals(3.0)
    trial.samples(CARS, signals)
    assert {trial.versions[car, 26] for car, _, _ in changes} == {2}
    assert trial.changes == changes
    columns = [column for column in trial.detector.cars._columns if column.values.ndim == 2]
    assert len(columns) == 2
    evidence = taken(trial)
    assert (evidence[2].share, evidence[2].judged) == (None, len(CARS))


def test_cars_that_the_challenger_has_not_learned_are_learned_on(make: Any, remembering: Any) -> None:
    """After the promotion they are handed over as soon as they would have been, as by a hand-over."""
    fleet = Fleet(make(1))
    fleet.samples(["a", "b"] * 8, remembering.mean)
    fleet.detector.challenge(make(2, share=0.0))
    fleet.samples(["a"] * 5 + ["b"] * 2, remembering.mean)
    fleet.detector.add(make(2))
    assert fleet.detector.generations.counts() == (1, 1, 0)
    fleet.samples(["b"] * 3, remembering.mean + 9 * remembering.spread)
    assert [fleet.versions.get(("b", seq)) for seq in (11, 12, 13)] == [1, 1, 2]


def test_a_withdrawal_costs_no_memory(make: Any, drive: Drive) -> None:
    """The champion goes on as without a trial; alerts that people see stay open; arrays are freed."""
    plain = Fleet(make(1))
    fleet = Fleet(make(1))
    for _ in range(8):
        signals = drive.signals()
        plain.samples(CARS, signals)
        fleet.samples(CARS, signals)
    before = len(fleet.detector.cars._columns)
    fleet.detector.challenge(make(2, by=0.5, share=1.0))
    for faulty in [0.0] * 5 + [3.0] * 12:
        signals = drive.signals(faulty)
        plain.samples(CARS, signals)
        fleet.samples(CARS, signals)
    opened = {car for car, _, opens in fleet.changes if opens}
    assert opened == {car for car, _, opens in plain.changes if opens}
    fleet.detector.end_trial()
    assert len(fleet.detector.cars._columns) == before
    for _ in range(30):
        signals = drive.signals()
        plain.samples(CARS, signals)
        fleet.samples(CARS, signals)
    for car in CARS:
        np.testing.assert_array_equal(fleet.state(car, 1), plain.state(car, 1))
    assert {car for car, _, opens in fleet.changes if not opens} == opened
    assert fleet.detector.open_alerts == 0
    assert taken(fleet)[2].share == 1.0  # what it did until then


def dropped() -> float:
    return REGISTRY.get_sample_value("scorer_challengers_dropped_total") or 0.0


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("fault", ["states", "scores", "exception"])
def test_a_broken_challenger_does_no_harm(make: Any, drive: Drive, fault: str, share: float) -> None:
    """Results that are not finite, a graph that fails: it goes, and the champion scores every record."""
    plain, fleet, before = Fleet(make(1)), Fleet(make(1)), dropped()
    for round_, signals in enumerate(course(drive)):
        if round_ == 8:
            fleet.detector.challenge(make(2, share=share))
        if round_ == 14:
            model = fleet.detector.trial.states.model  # type: ignore[union-attr]
            model.step = broken(model.step, fault)
        plain.samples(CARS, signals)
        fleet.samples(CARS, signals)
    assert dropped() == before + 1
    assert fleet.detector.trial is None
    last = {key: score for key, score in plain.scores.items() if key[1] > 15}
    assert {key: score for key, score in fleet.scores.items() if key[1] > 15} == last
    for car in CARS:
        np.testing.assert_array_equal(fleet.state(car, 1), plain.state(car, 1))


def broken(step: Any, fault: str) -> Any:
    def fail(signals: Floats, state: Floats) -> Any:
        if fault == "exception":
            raise RuntimeError("tensor allocation failed")
        score, contribution, after = step(signals, state)
        if fault == "scores":
            return score * np.nan, contribution, after
        return score, contribution, after * np.nan

    return fail


def test_one_car_with_impossible_values_ends_no_trial(make: Any, drive: Drive) -> None:
    """Its states are learned anew, by both sides; the trial goes on."""
    fleet, before = learned(Fleet(make(1)), drive, make(2, share=1.0)), dropped()
    for _ in range(30):
        signals = drive.signals()
        signals[3] = np.inf
        fleet.samples(CARS, signals)
    assert dropped() == before
    assert fleet.detector.trial
    assert fleet.detector.trial.learning == 1
