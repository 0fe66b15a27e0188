"""Evaluation on synthetic cars whose right answer is known."""

import dataclasses
from collections import Counter
from functools import cache

import numpy as np
import pytest

from contract.alert_rule import AlertRule
from contract.telemetry import SIGNALS, Floats
from trainer.judge.baselines import Contender
from trainer.judge.deviations import artificial_faults, grown
from trainer.judge.evaluate import auroc, difference, judge
from trainer.judge.held_out import DEVIATION, WORKSHOP, HeldOut, Labelled, held_out
from trainer.log_slice import MaintenanceReport, Telemetry
from trainer.model.domain import Domain, fleet_domain
from trainer.reading import Slice
from trainer.settings import Settings
from trainer.split import CALIBRATION, TEST, TRAINING, parts_of
from trainer.train import training_rows

CARS, SAMPLES, LEARNED = 300, 40, 10
SETTINGS = Settings(kafka_bootstrap="localhost:9092", label_window_s=5.0, labelled_cars_min=3)
TRAINED = dataclasses.replace(SETTINGS, learning_s=10.0, memory_s=5.0)
WEEKLY = 168 * 3600 / 100  # one alert in a hundred samples, which come a second apart


@cache  # shared, never changed
def telemetry() -> Telemetry:
    """Every signal is normal around 100 with deviation 1; one sample a second."""
    rng = np.random.default_rng(1)
    car = np.repeat(np.arange(CARS, dtype=np.int32), SAMPLES)
    second = np.tile(np.arange(1, SAMPLES + 1), CARS)
    signals = rng.normal(100, 1, (len(car), len(SIGNALS))).astype(np.float32)
    ids = tuple(b"car-%06d" % number for number in range(CARS))
    return Telemetry(ids, car, second, second * 1000, signals, 0, Counter())


@cache  # shared, never changed
def held(*reports: MaintenanceReport) -> HeldOut:
    slice_ = telemetry()
    return held_out(
        fleet_domain(),
        slice_,
        parts_of(slice_.cars),
        list(reports),
        SETTINGS,
        judged_from=LEARNED,
        interval_s=1.0,
    )


def first_signal(sign: float = 1.0) -> Contender:
    """The score is the first signal."""
    return Contender(
        "first", lambda signals, car: sign * (signals[:, 0] - 100) + 10, AlertRule(close_ratio=1)
    )


def shifted(by: float) -> HeldOut:
    """Held-out cars with one failure each: in the last sample the first signal is higher by this much."""
    data = held()
    moved, last = data.healthy.copy(), np.flatnonzero(np.diff(data.healthy_car, append=-1))
    moved[:, 0] = 90  # no alert before
    moved[last, 0] = 100 + by
    faulty = Labelled(
        DEVIATION,
        ("shift",),
        moved,
        data.healthy_car,
        data.healthy_car,
        np.zeros(len(last), np.intp),
        last,
        last + 1,
    )
    return HeldOut(
        LEARNED,
        1.0,
        data.calibration,
        data.calibration_car,
        data.healthy,
        data.healthy_car,
        faulty,
    )


def test_auroc_of_known_orders() -> None:
    """1 if every faulty sample is higher, 0 if lower, 0.5 for equal values, and a case by hand."""
    low, high = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0])
    assert auroc(low, high) == 1
    assert auroc(high, low) == 0
    assert auroc(low, low) == 0.5
    assert auroc(np.array([1.0, 3.0]), np.array([2.0, 3.0])) == (1 + 0 + 1 + 0.5) / 4


def test_a_detector_that_sees_the_fault_is_told_from_one_that_does_not() -> None:
    """A shift by six deviations is foreseen; with the opposite sign it never is."""
    seeing = judge(first_signal(), shifted(6), WEEKLY)
    blind = judge(first_signal(-1), shifted(6), WEEKLY)
    assert seeing.recall == 1
    assert seeing.auroc > 0.999
    assert blind.recall == 0
    gain = difference(seeing, blind)
    assert min(gain.low, gain.mean, gain.high) > 0.99
    assert seeing.recall_by_fault == {"shift": 1}


def test_the_false_alarms_are_the_budget() -> None:
    """Healthy test cars raise about as many alerts as the budget, and the lower bound is below it."""
    judged = judge(first_signal(), shifted(3), WEEKLY)
    assert 0.6 * WEEKLY < judged.false_alarms_per_car_week < 1.6 * WEEKLY
    assert judged.false_alarms_low < judged.false_alarms_per_car_week
    assert judged.suspect_share == 0


def test_an_alert_that_was_open_before_foresees_nothing() -> None:
    """Only an alert that opens while the fault grows counts."""
    data = shifted(6)
    still_open = dataclasses.replace(data.faulty, signals=data.faulty.signals * 0 + 106)
    assert judge(first_signal(), dataclasses.replace(data, faulty=still_open), WEEKLY).recall == 0


def test_a_detector_that_gives_nan_only_alarms() -> None:
    """A broken detector has no threshold that keeps the budget, and no recall."""
    broken = Contender("nan", lambda signals, car: signals[:, 0] * np.float32(np.nan), AlertRule())
    judged = judge(broken, shifted(3), WEEKLY)
    assert not judged.threshold < 1e30
    assert judged.recall == 0


def test_the_same_detector_has_no_gain_over_itself() -> None:
    """All detectors are judged on the same draws of cars: the difference of equals is exactly zero."""
    one, other = judge(first_signal(), shifted(3), WEEKLY), judge(first_signal(), shifted(3), WEEKLY)
    gain = difference(one, other)
    assert (gain.mean, gain.low, gain.high) == (0, 0, 0)


def test_parts_are_disjoint_and_training_cars_are_in_none() -> None:
    """Calibration and test rows are of cars of their part only."""
    data, parts = held(), parts_of(telemetry().cars)
    assert set(np.unique(parts[data.calibration_car])) == {CALIBRATION}
    assert set(np.unique(parts[data.healthy_car])) == {TEST}
    assert data.faulty.source == DEVIATION
    tests = len(np.unique(data.healthy_car))
    assert len(data.faulty.fault) == len(fleet_domain().deviations) * tests
    assert ((data.faulty.after - data.faulty.first) == SAMPLES - LEARNED).all()
    assert (data.faulty.failing_car == np.tile(np.unique(data.healthy_car), len(data.faulty.faults))).all()


def test_workshop_reports_are_the_labels_where_there_are_enough() -> None:
    """An alert within the window before a failure foresees it; no car with a reported fault is healthy."""
    slice_ = telemetry()
    parts = parts_of(slice_.cars)
    failed = [*np.flatnonzero(parts == TEST)[:2], *np.flatnonzero(parts == CALIBRATION)[:2]]
    reports = [MaintenanceReport(slice_.cars[car], "tire_1_1", "failed", 22_000) for car in failed]
    trained = np.flatnonzero(parts == TRAINING)[0]
    early, repaired = np.flatnonzero(parts == TEST)[2:4]
    reports += [
        MaintenanceReport(slice_.cars[trained], "tire_1_1", "failed", 22_000),
        MaintenanceReport(
            slice_.cars[early], "tire_1_1", "failed", LEARNED * 1000
        ),  # before its car was learned
        MaintenanceReport(slice_.cars[repaired], "air_filter", "repaired", 22_000),
        MaintenanceReport(b"a car of another slice", "tire_1_1", "failed", 22_000),
    ]
    data = held(*reports)
    assert data.faulty.source == WORKSHOP
    assert data.faulty.faults == ("tire_1_1",)
    assert data.faulty.failing_car.tolist() == sorted(failed)
    windows = zip(data.faulty.first, data.faulty.after, strict=True)
    assert all(after - first == 5 for first, after in windows)  # seconds 18 to 22
    assert not set(failed) | {repaired} <= set(data.healthy_car.tolist()) | set(data.calibration_car.tolist())
    assert repaired not in data.healthy_car


def test_cars_in_which_workshops_found_nothing_are_healthy() -> None:
    """They set the threshold and count false alarms: else the cars that look odd would all be left out."""
    parts = parts_of(telemetry().cars)
    inspected = [np.flatnonzero(parts == part)[0] for part in (TRAINING, CALIBRATION, TEST)]
    data = held(*(MaintenanceReport(telemetry().cars[car], "", "inspected", 22_000) for car in inspected))
    assert inspected[1] in data.calibration_car
    assert inspected[2] in data.healthy_car
    assert data.faulty.source == DEVIATION
    rows = training_rows(Slice(telemetry(), [], {}), TRAINED)
    reports = [MaintenanceReport(telemetry().cars[inspected[0]], "", "inspected", 22_000)]
    assert (training_rows(Slice(telemetry(), reports, {}), TRAINED).car == rows.car).all()
    failed = [dataclasses.replace(reports[0], action="failed")]
    assert inspected[0] not in training_rows(Slice(telemetry(), failed, {}), TRAINED).car


def test_with_few_reports_deviations_are_the_labels() -> None:
    """Two reported cars are fewer than the three that the setting asks for."""
    slice_ = telemetry()
    test = np.flatnonzero(parts_of(slice_.cars) == TEST)
    reports = [MaintenanceReport(slice_.cars[car], "tire_1_1", "failed", 22_000) for car in test[:2]]
    assert held(*reports).faulty.source == DEVIATION


def test_deviations_grow_in_one_signal_once_the_car_is_learned() -> None:
    """A deviation grows to its full size and stays, in one signal of each car; nothing else changes."""
    car = np.repeat(np.arange(3), 14)
    signals: Floats = np.full((42, len(SIGNALS)), 30, np.float32)
    domain = fleet_domain()
    tyre = next(each for each in domain.deviations if each.factor == 0.75)
    moved = grown(domain, signals, car, tyre, begins=4, seed=1)
    changed = (moved != signals).any(axis=0)
    assert set(np.array(SIGNALS)[changed]) <= set(tyre.signals)
    expected = 30 * (1 - 0.25 * np.array([0] * 4 + [0.2, 0.4, 0.6, 0.8] + [1] * 6))
    for number in range(3):
        rows = moved[car == number]
        (column,) = np.flatnonzero((rows != 30).any(axis=0))
        assert np.allclose(rows[:, column], expected)
    assert (grown(domain, signals, car, tyre, begins=4, seed=1) == moved).all()


def test_signals_without_a_known_fault_are_moved_by_two_spreads() -> None:
    """A domain without deviations gets one for each judged signal."""
    judged = np.array([True, True, False])
    domain = Domain(("a", "b", "x"), judged, ~judged, np.full(3, 1e-6), np.zeros(3, bool))
    rows = np.random.default_rng(1).normal(0, (1, 5, 9), (20_000, 3)).astype(np.float32)
    assert [(each.signals, round(each.offset)) for each in artificial_faults(domain, rows)] == [
        (("a",), 2),
        (("b",), 10),
    ]
    assert artificial_faults(domain, rows)[0].offset == pytest.approx(2, abs=0.1)
