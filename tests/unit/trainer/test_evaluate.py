"""Evaluation on synthetic cars whose right answer is known."""

from collections import Counter

import numpy as np
import pytest

from contract.telemetry import SIGNALS, Floats
from trainer.baselines import Detector
from trainer.deviations import growing
from trainer.domain import fleet_domain
from trainer.evaluate import auroc, difference, judge
from trainer.held_out import DEVIATION, WORKSHOP, HeldOut, Labelled, held_out
from trainer.log_slice import Report, Telemetry
from trainer.settings import Settings
from trainer.split import CALIBRATION, TEST, TRAINING, parts_of

CARS, SAMPLES = 300, 20
TOLD = Settings(kafka_bootstrap="localhost:9092", label_window_s=5.0, labelled_cars_min=3)


def telemetry() -> Telemetry:
    """Every signal standard normal around 100; one sample a second."""
    rng = np.random.default_rng(1)
    car = np.repeat(np.arange(CARS, dtype=np.int32), SAMPLES)
    second = np.tile(np.arange(1, SAMPLES + 1), CARS)
    signals = rng.normal(100, 1, (len(car), len(SIGNALS))).astype(np.float32)
    ids = tuple(b"car-%06d" % number for number in range(CARS))
    return Telemetry(ids, car, second, second * 1000, signals, 0, Counter())


def first_signal(sign: float = 1.0) -> Detector:
    return Detector("first", lambda signals: sign * signals[:, 0] + 200)


def shifted(by: float) -> HeldOut:
    """Held-out cars with faulty samples whose first signal is higher by so many deviations."""
    data = held_out(fleet_domain(), telemetry(), parts_of(telemetry().cars), [], TOLD)
    moved = data.healthy.copy()
    moved[:, 0] += by
    none = np.zeros(len(moved), np.intp)
    faulty = Labelled(DEVIATION, ("shift",), moved, data.healthy_car, none)
    return HeldOut(data.cars, data.calibration, data.calibration_car, data.healthy, data.healthy_car, faulty)


def test_auroc_of_known_orders() -> None:
    """1 where every faulty sample is higher, 0 where lower, half for the same values, by hand in between."""
    low, high = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0])
    assert auroc(low, high) == 1
    assert auroc(high, low) == 0
    assert auroc(low, low) == 0.5
    assert auroc(np.array([1.0, 3.0]), np.array([2.0, 3.0])) == (1 + 0 + 1 + 0.5) / 4


def test_a_detector_that_sees_the_fault_is_told_from_one_that_does_not() -> None:
    """At one false alarm in a hundred a shift by six deviations is found; looking the wrong way, never."""
    seeing = judge(first_signal(), shifted(6), 0.01)
    blind = judge(first_signal(-1), shifted(6), 0.01)
    assert seeing.recall > 0.99
    assert seeing.auroc > 0.999
    assert blind.recall < 0.001
    gain = difference(seeing, blind)
    assert min(gain.low, gain.mean, gain.high) > 0.99
    assert seeing.recall_by_fault == {"shift": pytest.approx(seeing.recall, abs=0.01)}


def test_recall_is_that_of_the_normal_distribution() -> None:
    """A shift by the threshold itself (2.33 deviations at 1 %) is found every other time."""
    found = judge(first_signal(), shifted(2.326), 0.01)
    assert abs(found.recall - 0.5) < 0.05


def test_the_alarm_share_is_the_budget() -> None:
    """Healthy test cars alarm about as often as was asked for, and the lower bound is below it."""
    found = judge(first_signal(), shifted(3), 0.05)
    assert 0.025 < found.alarm_share < 0.07
    assert found.alarm_share_low < found.alarm_share
    assert found.suspect_share == 0


def test_a_detector_that_gives_nan_has_no_threshold_and_only_alarms() -> None:
    """Nothing of a broken detector looks good: its false alarms are all of the samples."""
    broken = judge(Detector("nan", lambda signals: signals[:, 0] * np.float32(np.nan)), shifted(3), 0.01)
    assert np.isnan(broken.threshold)
    assert broken.alarm_share == 1


def test_the_same_detector_has_no_gain_over_itself() -> None:
    """All detectors are judged on the same draws of cars: the difference of equals is exactly zero."""
    one, other = judge(first_signal(), shifted(3), 0.01), judge(first_signal(), shifted(3), 0.01)
    gain = difference(one, other)
    assert (gain.mean, gain.low, gain.high) == (0, 0, 0)


def test_parts_are_disjoint_and_training_cars_are_in_none() -> None:
    """Calibration and test cars are those of their part, and nobody else."""
    data = held_out(fleet_domain(), telemetry(), parts_of(telemetry().cars), [], TOLD)
    parts = parts_of(telemetry().cars)
    assert set(np.unique(parts[data.calibration_car])) == {CALIBRATION}
    assert set(np.unique(parts[data.healthy_car])) == {TEST}
    assert data.faulty.source == DEVIATION
    assert len(data.faulty.car) == len(fleet_domain().deviations) * len(data.healthy_car)


def test_workshop_reports_are_the_labels_where_there_are_enough() -> None:
    """Samples within the window before a failure are faulty; no car with a report counts as healthy."""
    slice_ = telemetry()
    parts = parts_of(slice_.cars)
    failed = [*np.flatnonzero(parts == TEST)[:2], *np.flatnonzero(parts == CALIBRATION)[:2]]
    reports = [Report(slice_.cars[car], "tire_1_1", "failed", 12_000) for car in failed]
    trained = np.flatnonzero(parts == TRAINING)[0]
    repaired = np.flatnonzero(parts == TEST)[2]
    reports += [
        Report(slice_.cars[trained], "tire_1_1", "failed", 12_000),
        Report(slice_.cars[repaired], "air_filter", "repaired", 12_000),
        Report(b"a car of another slice", "tire_1_1", "failed", 12_000),
    ]
    data = held_out(fleet_domain(), slice_, parts, reports, TOLD)
    assert data.faulty.source == WORKSHOP
    assert data.faulty.faults == ("tire_1_1",)
    assert sorted(set(data.faulty.car.tolist())) == sorted(failed)
    assert len(data.faulty.car) == 4 * 5  # seconds 8 to 12
    assert not set(failed) | {repaired} <= set(data.healthy_car.tolist()) | set(data.calibration_car.tolist())
    assert repaired not in data.healthy_car


def test_with_few_reports_deviations_are_the_labels() -> None:
    """Two reported cars are fewer than the three that the setting asks for."""
    slice_ = telemetry()
    test = np.flatnonzero(parts_of(slice_.cars) == TEST)
    reports = [Report(slice_.cars[car], "tire_1_1", "failed", 12_000) for car in test[:2]]
    assert held_out(fleet_domain(), slice_, parts_of(slice_.cars), reports, TOLD).faulty.source == DEVIATION


def test_deviations_grow_over_a_cars_samples_in_one_signal() -> None:
    """From nearly nothing to the full size, in the same signal of a car, and no other value changes."""
    car = np.repeat(np.arange(3), 10)
    signals: Floats = np.full((30, len(SIGNALS)), 30, np.float32)
    tyre = next(each for each in fleet_domain().deviations if each.factor == 0.75)
    moved = growing(fleet_domain(), signals, car, tyre, seed=1)
    changed = (moved != signals).any(axis=0)
    assert set(np.array(SIGNALS)[changed]) <= set(tyre.signals)
    for number in range(3):
        rows = moved[car == number]
        (column,) = np.flatnonzero((rows != 30).any(axis=0))
        assert np.allclose(rows[:, column], 30 * (1 - 0.25 * np.arange(1, 11) / 10))
    assert (growing(fleet_domain(), signals, car, tyre, seed=1) == moved).all()
