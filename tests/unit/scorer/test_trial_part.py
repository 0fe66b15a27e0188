"""A trial in which half of the cars take part: what is said of them, and what becomes of the others."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from contract.manifest import Decision
from contract.trial import taking_part
from scorer.model import Model

from .fleet import Fleet
from .test_trial_snapshots import successor
from .trial import CARS, RULE, Drive, canary, learned, model, taken

HALF = canary(0.5)
FAULTY = {car for number, car in enumerate(CARS) if number % 5 == 0}


@pytest.fixture
def make(remembering: Any) -> Any:
    return partial(model, remembering, on_trial=0.5)


@pytest.fixture
def drive(remembering: Any) -> Drive:
    return Drive(remembering)


def seen(fleet: Fleet) -> set[str]:
    """The cars of which the challenger has a state."""
    assert fleet.detector.trial
    states = fleet.detector.trial.states.column.values
    return {car for car in CARS if states[fleet.number(car)].any()}


def test_of_a_large_fleet_enough_cars_take_part() -> None:
    """All of a small one: there a trial is cheap, and driving is rare."""
    assert [taking_part(cars) for cars in (0, 1_000, 10_000, 20_000, 100_000)] == [1, 1, 1, 0.5, 0.1]


def test_a_trial_takes_half_of_the_cars(make: Any, drive: Drive) -> None:
    """The challenger sees, counts and raises alerts of these alone; the champion of all."""
    fleet = learned(Fleet(make(1)), drive, make(2, share=0.0, threshold=2.0))
    taken(fleet)
    for _ in range(12):
        fleet.samples(CARS, drive.signals(0.75))  # 0.75 √K: more than 2, less than 4
    assert seen(fleet) == HALF
    evidence = taken(fleet)
    assert (evidence[1].cars, evidence[2].cars) == (len(CARS), len(HALF))
    assert (evidence[1].judged, evidence[2].judged) == (12 * len(CARS), 12 * len(HALF))
    assert {alert["car_id"] for alert in fleet.unseen} == FAULTY & HALF
    assert evidence[2].openings == evidence[2].alone == len(FAULTY & HALF)
    assert evidence[1].alone == evidence[1].openings == 0


def test_of_a_car_it_says_the_same_whoever_else_is_on_trial(
    make: Any, remembering: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while a hand-over goes on, where the cars of a batch are scored by two models."""
    monkeypatch.setattr("scorer.consensus.CARS_MIN", 1_000)  # medians of half of the cars are others
    half, every = Fleet(make(1)), Fleet(make(1))
    for fleet, share in ((half, 0.0), (every, 1.0)):
        drive = Drive(remembering)
        for round_ in range(30):
            if round_ == 8:
                fleet.detector.add(make(2, by=0.3))
            if round_ == 9:
                fleet.detector.challenge(make(3, by=0.5, share=share))
            some = CARS if round_ % 3 else CARS[::2]
            fleet.samples(some, drive.signals()[:: len(CARS) // len(some)])
        assert fleet.detector.trial
        assert fleet.detector.trial.learning == 0
    mine = canary(0.5, version=3)
    assert seen(half) == mine
    for car in mine:
        one, other = (
            fleet.detector.trial.states.column.values[fleet.number(car)]  # type: ignore[union-attr]
            for fleet in (half, every)
        )
        np.testing.assert_array_equal(one, other)


def test_after_the_promotion_the_others_are_handed_over(make: Any, drive: Drive) -> None:
    """Their champion goes on scoring them until the new one has learned them; no alert closes meanwhile."""
    fleet = learned(Fleet(make(1)), drive, make(2, by=0.5, share=0.0))
    for _ in range(12):
        fleet.samples(CARS, drive.signals(3.0))
    opened = list(fleet.changes)
    assert {car for car, _, _ in opened} == FAULTY
    assert FAULTY - HALF
    fleet.detector.add(make(2, by=0.5))
    others = len(CARS) - len(HALF)
    assert fleet.detector.generations.counts() == (others, others, 0)
    fleet.samples(CARS, drive.signals(3.0))
    assert {car for car in FAULTY if fleet.versions[car, 26] == 2} == FAULTY & HALF
    for _ in range(5):
        fleet.samples(CARS, drive.signals(3.0))
    assert fleet.detector.generations.counts() == (0, 0, 0)
    assert {fleet.versions[car, 31] for car in FAULTY} == {2}
    assert fleet.changes == opened


def test_a_larger_share_brings_more_cars_and_a_smaller_one_takes_none_away(make: Any, drive: Drive) -> None:
    """A car that has been learned once goes on, so that no state is older than the others."""
    fleet = learned(Fleet(make(1)), drive, make(2, share=0.0))
    for share in (0.8, 0.0):
        fleet.detector.challenge(make(2, share=share))
        fleet.samples(CARS, drive.signals())
        assert seen(fleet) == canary(0.8) > HALF
    assert fleet.detector.trial
    before = fleet.detector.trial.states.column.values.copy()
    fleet.samples(CARS, drive.signals())
    moved = (fleet.detector.trial.states.column.values != before).any(axis=1)
    assert {car for car in CARS if moved[fleet.number(car)]} == canary(0.8)


def test_a_successor_takes_no_state_of_a_car_that_is_not_on_trial(make: Any, drive: Drive) -> None:
    """It would grow old beside the car, and be believed when a larger share brings the car back."""
    fleet = learned(Fleet(make(1)), drive, make(2, share=1.0))
    new = successor(fleet, make(2, share=0.0), make(1))
    assert seen(fleet) == set(CARS)
    assert seen(new) == HALF


def test_a_promotion_without_states_keeps_the_levels_of_the_others(detector: Any, drive: Drive) -> None:
    """A graph that learns nothing takes over all cars at once, and no alert closes for it."""
    make = partial(Model.open, runtime="litert")
    plain = {"threshold": 4.0, "alert": RULE}
    fleet = Fleet(make(detector.record(1, **plain)))
    fleet.samples(CARS, drive.signals())
    fleet.detector.challenge(
        make(detector.record(2, decision=Decision(published=True, share=0.0, on_trial=0.5), **plain))
    )
    for _ in range(6):
        fleet.samples(CARS, drive.signals(3.0))
    opened = list(fleet.changes)
    assert {car for car, _, _ in opened} == FAULTY
    fleet.detector.add(make(detector.record(2, **plain)))
    for _ in range(3):
        fleet.samples(CARS, drive.signals(3.0))
    assert fleet.changes == opened
    assert {fleet.versions[car, 10] for car in FAULTY} == {2}
