"""Cars that are unseen for long or too many leave the memory and car-state; learned ones stay."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from contract import records
from contract.alert_rule import AlertRule
from contract.manifest import Decision
from contract.telemetry import SIGNALS
from scorer.departures import Departures
from scorer.detector import AnomalyDetector
from scorer.model import Model
from scorer.trial_snapshots import Snapshot

from .fleet import SAMPLED_AT_MS, Fleet
from .takeover import committed
from .test_snapshots import snapshots

K, DAY_MS, LEARNING = len(SIGNALS), 86_400_000, 8  # samples that `remembering` learns a car for
NOW_MS = time.time_ns() // 1_000_000 - SAMPLED_AT_MS  # in the fleet's time


@pytest.fixture
def fleet(remembering: Any) -> Fleet:
    model = remembering.record(1, threshold=2.0, alert=AlertRule(smoothing=0.5))
    return Fleet(Model.open(model, "litert"))


def drive(fleet: Fleet, car: str, at_ms: int, samples: int = 1, first: int = 1) -> None:
    """Samples of a car that end at this time."""
    times = [at_ms - 1_000 * (samples - 1 - n) for n in range(samples)]
    cars = [(car, first + n) for n in range(samples)]
    fleet.records(cars, np.zeros((samples, K), np.float32), at_ms=times)


def deletions(fleet: Fleet, now_s: float = 0.0, **bounds: Any) -> list[Snapshot]:
    limits: Any = {"cars_max": 1_000, "days_max": 30} | bounds
    return Departures(fleet.detector, snapshots(fleet.detector), **limits).due(now_s).deletions


def count(reason: str) -> float:
    return REGISTRY.get_sample_value("scorer_forgotten_cars_total", {"reason": reason}) or 0


def test_a_car_unseen_for_a_month_leaves(fleet: Fleet) -> None:
    """Its state is deleted in car-state; the others keep theirs, and it may come back as a new car."""
    before = count("unseen")
    for car, days in (("a", 0), ("scrapped", 31), ("b", 29)):
        drive(fleet, car, NOW_MS - days * DAY_MS, LEARNING)
    state = fleet.state("b", 1).copy()
    assert deletions(fleet) == [(0, b"scrapped", None)]
    assert fleet.detector.cars.ids == [b"a", b"b"]
    np.testing.assert_array_equal(fleet.state("b", 1), state)
    assert count("unseen") - before == 1
    drive(fleet, "scrapped", NOW_MS)
    drive(fleet, "b", NOW_MS, first=LEARNING + 1)
    assert fleet.detector.seq.values[: len(fleet.detector.cars)].tolist() == [LEARNING, LEARNING + 1, 1]


def test_of_too_many_cars_the_least_known_leave(fleet: Fleet) -> None:
    """First those not learned, the longest unseen of them; a learned one that is parked for a week stays."""
    before = count("too_many")
    drive(fleet, "parked", NOW_MS - 7 * DAY_MS, LEARNING)
    for number in range(30):
        drive(fleet, f"invented-{number:02d}", NOW_MS - 60_000 + number)
    drive(fleet, "driving", NOW_MS, LEARNING)
    left = [key for _, key, value in deletions(fleet, cars_max=20) if value is None]
    assert left == [b"invented-%02d" % number for number in range(16)]
    assert {b"parked", b"driving"} <= set(fleet.detector.cars.ids)
    assert len(fleet.detector.cars) == 16
    assert count("too_many") - before == 16


def test_a_clock_of_the_host_that_is_set_forward_expires_nobody(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unseen is measured by what the cars say; where one of them is wrong, by the host."""
    drive(fleet, "a", NOW_MS)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: (SAMPLED_AT_MS + NOW_MS + 400 * DAY_MS) * 1_000_000)
        assert deletions(fleet) == []
    drive(fleet, "wrong", NOW_MS + 400 * DAY_MS)
    assert deletions(fleet) == []


def test_a_look_costs_nothing_in_between(fleet: Fleet) -> None:
    """Once a minute; at once where there are too many."""
    departures = Departures(fleet.detector, snapshots(fleet.detector), cars_max=2, days_max=30)
    assert departures.due(0.0) == ([], [])
    for car in ("a", "b"):
        drive(fleet, car, NOW_MS - 40 * DAY_MS)
    drive(fleet, "b", NOW_MS, first=2)
    assert departures.due(59.0) == ([], [])
    assert departures.due(60.0) == ([], [(0, b"a", None)])
    for car in ("c", "d"):
        drive(fleet, car, NOW_MS)
    assert len(departures.due(61.0).deletions) == 2


def open_alert(fleet: Fleet, car: str, at_ms: int) -> None:
    """Learn a car, then let it fail."""
    drive(fleet, car, at_ms - 10_000, LEARNING)
    fleet.records([(car, LEARNING + 1)], np.full((1, K), 9, np.float32), at_ms=[at_ms])
    assert fleet.detector.visible_alert(fleet.number(car))


def closings(fleet: Fleet, **bounds: Any) -> list[tuple[str, str, str, int]]:
    """(car, alert, reason, time) of each closing, as read back from Kafka."""
    limits: Any = {"cars_max": 1_000, "days_max": 30} | bounds
    forgotten = Departures(fleet.detector, snapshots(fleet.detector), **limits).due(0.0)
    found = [records.decode(records.encode("alert", record))[1] for record in forgotten.closings]
    assert all(each["action"] == "closed" and each["scored_at"] > 0 for each in found)
    return [(each["car_id"], each["alert_id"], each["reason"], each["at"]) for each in found]


def test_the_alert_of_a_car_that_is_forgotten_closes(fleet: Fleet) -> None:
    """At its last sample, with the reason; nobody else would ever close it."""
    seen_ms = NOW_MS - 31 * DAY_MS
    open_alert(fleet, "scrapped", seen_ms)
    drive(fleet, "sound", seen_ms, LEARNING)
    open_alert(fleet, "driving", NOW_MS)
    alert = f"scrapped-{LEARNING + 1}"
    assert closings(fleet) == [("scrapped", alert, "unseen", SAMPLED_AT_MS + seen_ms)]
    assert len(fleet.detector.alerts) == 1


def test_the_alert_of_a_car_that_is_one_too_many_closes(fleet: Fleet) -> None:
    """They leave last of all, but where all are known, the longest unseen leave with their alerts."""
    for number in range(4):
        open_alert(fleet, f"car-{number}", NOW_MS - 60_000 + number)
    found = closings(fleet, cars_max=3)
    assert [(car, reason) for car, _, reason, _ in found] == [("car-0", "too_many"), ("car-1", "too_many")]


def test_states_that_did_not_fit_leave_through_a_scorer_with_more_room(
    fleet: Fleet, assignment: Any, reader: Any, successor: AnomalyDetector
) -> None:
    """It reads all of them, and forgets those unseen for too long with their alerts (docs/operations.md)."""
    for number in range(40):
        open_alert(fleet, f"gone-{number}", NOW_MS - 31 * DAY_MS)
    drive(fleet, "driving", NOW_MS, LEARNING)
    for _, key, value in snapshots(fleet.detector).changed_in([0]):
        reader.append("car-state", 0, value, key)
    replace(assignment, states_max=20).resume(committed({0: -1001}))
    assert len(successor.cars) <= 20
    assignment.resume(committed({0: -1001}))
    assert len(successor.cars) == 41
    successor.cars.now_ms = SAMPLED_AT_MS + NOW_MS  # as after the first batch
    forgotten = Departures(successor, assignment.snapshots, cars_max=1_000, days_max=30).due(0.0)
    assert len(forgotten.closings) == len(forgotten.deletions) == 40
    assert successor.cars.ids == [b"driving"]


def test_a_closing_says_what_the_challenger_said_where_it_serves(fleet: Fleet, remembering: Any) -> None:
    """The alert that people see is that of the model that scores the car; the other one ends in silence."""
    decision = Decision(published=True, share=1.0)
    fleet.detector.challenge(Model.open(remembering.record(2, threshold=2.0, decision=decision), "litert"))
    seen_ms = NOW_MS - 31 * DAY_MS
    open_alert(fleet, "scrapped", seen_ms)
    drive(fleet, "driving", NOW_MS)
    trial = fleet.detector.trial
    assert trial is not None
    assert trial.serves.values[fleet.number("scrapped")]
    limits: Any = {"cars_max": 1_000, "days_max": 30}
    (record,) = Departures(fleet.detector, snapshots(fleet.detector), **limits).due(0.0).closings
    assert record["model_version"] == 2
