"""A challenger beside the champion: it learns all cars, and scores its share of them."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from .fleet import Fleet
from .trial import CARS, Drive, canary, course, learned, model, openings, taken


@pytest.fixture
def make(remembering: Any) -> Any:
    return partial(model, remembering)


@pytest.fixture
def drive(remembering: Any) -> Drive:
    return Drive(remembering)


def test_a_shadow_changes_nothing(make: Any, drive: Drive) -> None:
    """With a shadow every result is as without it, and what it would have said is evidence only."""
    alone, beside = Fleet(make(1)), Fleet(make(1))
    for round_, signals in enumerate(course(drive)):
        if round_ == 8:
            beside.detector.challenge(make(2, by=0.5, share=0.0, threshold=2.0))
        (plain, alerts), (found, same_alerts) = (each.samples(CARS, signals) for each in (alone, beside))
        assert alerts == same_alerts
        np.testing.assert_array_equal(plain.rows, found.rows)
        np.testing.assert_array_equal(plain.scores, found.scores)
        np.testing.assert_array_equal(plain.shares, found.shares)
    assert alone.scores == beside.scores
    assert set(beside.versions.values()) == {1}
    for car in CARS:
        np.testing.assert_array_equal(alone.state(car, 1), beside.state(car, 1))
    assert alone.changes
    assert {alert["model_version"] for alert in beside.unseen} == {2}
    assert alone.unseen == []


def test_a_shadow_judges_as_a_model_that_took_over(make: Any, drive: Drive) -> None:
    """After its learning its states are those that a champion's would be after the hand-over."""
    handed_over, trial = Fleet(make(1)), Fleet(make(1))
    for round_ in range(40):
        if round_ == 10:
            handed_over.detector.add(make(2, by=0.5))
            trial.detector.challenge(make(2, by=0.5, share=0.0))
        signals = drive.signals()
        for fleet in (handed_over, trial):
            fleet.samples(CARS, signals)
    assert trial.detector.trial
    assert trial.detector.trial.learning == 0
    for car in CARS:
        number = trial.number(car)
        mine = trial.detector.trial.states.column.values[number]
        np.testing.assert_array_equal(mine, handed_over.state(car, 2))


def test_a_shadows_openings_alone_are_counted(make: Any, drive: Drive) -> None:
    """An alert of the challenger counts as alone where the champion has none of the car open."""
    fleet = Fleet(make(1))
    for _ in range(8):
        fleet.samples(CARS, drive.signals())
    fleet.detector.challenge(make(2, share=0.0, threshold=2.0))
    for _ in range(5):
        fleet.samples(CARS, drive.signals())
    before = taken(fleet)
    assert (before[2].judged, before[2].learning, before[2].cars) == (len(CARS), 0, len(CARS))
    for _ in range(12):
        fleet.samples(CARS, drive.signals(0.75))  # 0.75 √K: more than 2, less than 4
    evidence = taken(fleet)
    assert (evidence[1].share, evidence[2].share) == (None, 0.0)
    assert (evidence[1].openings, evidence[1].alone) == (0, 0)
    assert (evidence[2].openings, evidence[2].alone, evidence[2].open) == (8, 8, 8)
    assert evidence[1].judged == evidence[2].judged == 12 * len(CARS)
    assert evidence[2].unwritten == 0
    assert len([alert for alert in fleet.unseen if alert["action"] == "opened"]) == 8


def test_a_canary_scores_exactly_its_cars(make: Any, drive: Drive) -> None:
    """Scores, alerts and versions of its cars are the challenger's, of the others the champion's."""
    fleet = learned(Fleet(make(1)), drive, make(2, by=0.5, share=0.4))
    for _ in range(12):
        found, _ = fleet.samples(CARS, drive.signals(3.0))
    assert sorted(found.rows.tolist()) == list(range(0, len(CARS), 5))  # each of them once
    faulty = {car for number, car in enumerate(CARS) if number % 5 == 0}
    mine = canary(0.4)
    assert faulty & mine
    assert faulty - mine
    last = {car: fleet.versions[car, 25] for car in faulty}
    assert last == {car: 2 if car in mine else 1 for car in faulty}
    opened = {car for car, _, opens in fleet.changes if opens}
    assert opened == faulty
    assert {(alert["car_id"], alert["model_version"]) for alert in fleet.unseen} == {
        (car, 1 if car in mine else 2) for car in faulty
    }
    assert fleet.detector.open_alerts == len(faulty)


def test_another_share_changes_no_state(make: Any, drive: Drive) -> None:
    """From shadow to canary to all cars and back: nothing is learned anew, and open alerts go on."""
    fleet = learned(Fleet(make(1)), drive, make(2, by=0.5, share=0.0))
    for _ in range(12):
        fleet.samples(CARS, drive.signals(3.0))
    changes = list(fleet.changes)
    seq = 25
    for share in (0.4, 1.0, 0.4, 0.0):
        fleet.detector.challenge(make(2, by=0.5, share=share))
        fleet.samples(CARS, drive.signals(3.0))
        seq += 1
        assert fleet.detector.trial
        assert fleet.detector.trial.learning == 0
        assert {car for car in canary(1.0) if fleet.versions.get((car, seq)) == 2} == {
            car for number, car in enumerate(CARS) if number % 5 == 0 and car in canary(share)
        }
    assert fleet.changes == changes  # the alerts stayed open
    for _ in range(20):
        fleet.samples(CARS, drive.signals())
    closed = {(car, opens) for car, _, opens in fleet.changes[len(changes) :]}
    assert closed == {(car, False) for car, _, _ in changes}


def test_every_alert_is_closed_where_it_was_opened(make: Any, drive: Drive) -> None:
    """Also if the one side alone opened it, and the car goes to the other side before it closes."""
    fleet = learned(Fleet(make(1)), drive, make(2, share=0.0, threshold=2.0))
    visible: list[dict[str, Any]] = []

    def rounds(share: float, faulty: float) -> None:
        assert fleet.detector.trial
        fleet.detector.challenge(make(2, share=share, threshold=2.0))
        for _ in range(12):
            visible.extend(fleet.samples(CARS, drive.signals(faulty))[1])

    rounds(0.0, 0.6)  # 0.6 √K: over 2, under 80 % of 4
    assert [alert["model_version"] for alert in fleet.unseen] == [2] * 8
    assert visible == []
    rounds(1.0, 0.6)
    assert [(alert["action"], alert["model_version"]) for alert in visible] == [("opened", 2)] * 8
    rounds(0.0, 0.6)
    assert {alert["action"] for alert in visible[8:]} == {"closed"}
    rounds(0.0, 0.0)
    assert len(openings(visible)) == 8
    assert len(openings(fleet.unseen)) == 16
    assert fleet.detector.open_alerts == 0


def test_what_was_watched_of_another_model_is_forgotten(make: Any, remembering: Any) -> None:
    """A car that is handed over to a newer champion before the challenger has learned it begins anew."""
    fleet = Fleet(make(1))
    fleet.samples(["a"] * 8, remembering.mean)
    fleet.detector.add(make(2))
    fleet.samples(["a"] * 2, remembering.mean)
    fleet.detector.challenge(make(3, share=0.0))
    fleet.samples(["a"] * 2, remembering.mean)
    assert fleet.detector.generations.scored_by(0).version == 2
    fleet.samples(["a"] * 3, remembering.mean)
    assert fleet.detector.trial
    assert (
        fleet.detector.trial.states.column.values[0, 0] == 2
    )  # its first sample beside another is no sample
    fleet.samples(["a"] * 2, remembering.mean)
    assert fleet.detector.trial.learning == 0


def test_a_car_that_goes_to_another_model_is_learned_anew(make: Any, remembering: Any) -> None:
    """What was watched of one champion says nothing of another; what is learned stays."""
    fleet = Fleet(make(1))
    fleet.samples(["a", "b"] * 8, remembering.mean)
    fleet.detector.challenge(make(3, share=0.0))
    fleet.samples(["a"] * 5 + ["b"], remembering.mean)
    fleet.detector.add(make(2))
    fleet.samples(["b"] * 2, remembering.mean)
    trial = fleet.detector.trial
    assert trial is not None
    assert trial.states.column.values[fleet.number("b"), 0] == 3
    fleet.samples(["b"] * 2, remembering.mean)
    assert fleet.detector.generations.scored_by(fleet.number("b")).version == 2
    assert trial.learned(np.arange(2)).tolist() == [True, True]
    fleet.samples(["a"] * 5, remembering.mean)
    assert trial.learned(np.arange(2)).tolist() == [True, True]


def test_unseen_alerts_are_bounded(make: Any, remembering: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the bound of an interval they are counted, not written."""
    monkeypatch.setattr("scorer.detector._UNSEEN_MAX", 3)
    fleet = Fleet(make(1, threshold=1e9))
    for _ in range(8):
        fleet.samples(CARS, remembering.mean)
    fleet.detector.challenge(make(2, share=0.0, threshold=0.5))
    for _ in range(5):
        fleet.samples(CARS, remembering.mean)
    taken(fleet)
    fleet.samples(CARS, remembering.mean + 9 * remembering.spread)
    assert len(fleet.unseen) == 3
    assert taken(fleet)[2].unwritten == len(CARS) - 3


def test_a_car_that_is_learned_without_inheriting_is_learned(make: Any, remembering: Any) -> None:
    """A challenger with other units learns each car for a whole learning period, and then judges it."""
    layout = replace(remembering.layout, units="others")
    fleet = Fleet(make(1))
    fleet.samples(CARS * 8, remembering.mean)
    fleet.detector.challenge(make(2, share=1.0, state=layout))
    fleet.samples(CARS * 7, remembering.mean)
    assert fleet.detector.trial
    assert fleet.detector.trial.learning == len(CARS)
    fleet.samples(CARS, remembering.mean)
    assert fleet.detector.trial.learning == 0
    fleet.samples(CARS * 2, remembering.mean + 9 * remembering.spread)
    assert {fleet.versions[car, 18] for car in CARS} == {2}
