"""Detectors compared on held-out cars, each with a threshold set on the same calibration cars.

Every share is a mean over samples, and its uncertainty one over *cars* (samples of a car are alike): cars are
drawn again with replacement, the same ones for every detector.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats
from trainer import deviations, robust
from trainer.baselines import Detector
from trainer.log_slice import Report, Telemetry
from trainer.settings import Settings
from trainer.split import CALIBRATION, TEST, TRAINING

_SAMPLES_MAX = 20_000  # of healthy test cars: more says nothing new and takes time
_RESAMPLES = 400
WORKSHOP, DEVIATION = "workshop reports", "growing deviations"


@dataclass(frozen=True)
class Labelled:
    """Samples (n, 18) of faulty cars: whose (n,), and which fault (n,), a place in `faults`."""

    source: str
    faults: tuple[str, ...]
    signals: Floats
    car: robust.Cars
    fault: NDArray[np.intp]


@dataclass(frozen=True)
class HeldOut:
    """What no detector has learned from: samples by car and time, reported cars only in `faulty`."""

    cars: int  # in the slice
    calibration: Floats
    calibration_car: robust.Cars
    healthy: Floats
    healthy_car: robust.Cars
    faulty: Labelled


@dataclass(frozen=True)
class Judgement:
    """What a detector did: alarms per car (number of cars in the slice,), and the rates for people."""

    name: str
    threshold: float
    alarm_share: float  # of samples of healthy test cars that nothing makes suspect
    suspect_share: float  # of the healthy test cars
    recall: float
    recall_by_fault: dict[str, float]
    auroc: float
    false_alarms: NDArray[Any]
    healthy_samples: NDArray[Any]
    hits: NDArray[Any]
    faulty_samples: NDArray[Any]

    def metrics(self) -> dict[str, Any]:
        """For the manifest."""
        names = ("threshold", "alarm_share", "suspect_share", "recall", "recall_by_fault", "auroc")
        return {name: getattr(self, name) for name in names}


def held_out(
    telemetry: Telemetry, part: NDArray[np.int8], reports: Sequence[Report], told: Settings
) -> HeldOut:
    """The held-out samples. `part` (cars,) is the part of each car."""
    reported = {report.car for report in reports}
    sound = np.array([car not in reported for car in telemetry.cars], bool)
    calibration = _thinned(np.flatnonzero((sound & (part == CALIBRATION))[telemetry.car]))
    test = _thinned(np.flatnonzero((sound & (part == TEST))[telemetry.car]))
    healthy, healthy_car = telemetry.signals[test], telemetry.car[test]
    faulty = _from_workshops(telemetry, part, reports, told.label_window_s)
    if len(np.unique(faulty.car)) < told.labelled_cars_min:
        faulty = _from_deviations(healthy, healthy_car, told.seed)
    return HeldOut(
        cars=len(telemetry.cars),
        calibration=telemetry.signals[calibration],
        calibration_car=telemetry.car[calibration],
        healthy=healthy,
        healthy_car=healthy_car,
        faulty=faulty,
    )


def judge(detector: Detector, data: HeldOut, alarm_share: float) -> Judgement:
    """Set the detector's threshold on the calibration cars and count on the test cars."""
    calibration = detector.score(data.calibration)
    threshold = robust.threshold(calibration, data.calibration_car, alarm_share)
    healthy, faulty = detector.score(data.healthy), detector.score(data.faulty.signals)
    suspect = robust.suspects(healthy, data.healthy_car)
    alarm, hit = ~(healthy <= threshold), ~(faulty <= threshold)
    trusted_car = data.healthy_car[~suspect]
    return Judgement(
        name=detector.name,
        threshold=threshold,
        alarm_share=float(alarm[~suspect].mean()),
        suspect_share=1 - len(np.unique(trusted_car)) / len(np.unique(data.healthy_car)),
        recall=float(hit.mean()),
        recall_by_fault={
            name: float(hit[data.faulty.fault == place].mean())
            for place, name in enumerate(data.faulty.faults)
        },
        auroc=auroc(healthy, faulty),
        false_alarms=np.bincount(trusted_car, alarm[~suspect], minlength=data.cars),
        healthy_samples=np.bincount(trusted_car, minlength=data.cars),
        hits=np.bincount(data.faulty.car, hit, minlength=data.cars),
        faulty_samples=np.bincount(data.faulty.car, minlength=data.cars),
    )


@dataclass(frozen=True)
class Difference:
    """Recall of the candidate minus that of another detector, with its 90 % interval over cars."""

    mean: float
    low: float
    high: float


def difference(candidate: Judgement, other: Judgement, seed: int) -> Difference:
    """How much more of the faulty samples the candidate alarms on, at the same false alarms."""
    weights = _resamples(candidate.faulty_samples, seed)
    samples = weights @ candidate.faulty_samples
    gain = (weights @ (candidate.hits - other.hits)) / np.maximum(samples, 1)
    low, high = np.quantile(gain, [0.05, 0.95])
    return Difference(candidate.recall - other.recall, float(low), float(high))


def alarm_share_low(judgement: Judgement, seed: int) -> float:
    """The 5 % quantile of the alarm share over cars drawn again: it is hardly less than this."""
    weights = _resamples(judgement.healthy_samples, seed)
    shares = (weights @ judgement.false_alarms) / np.maximum(weights @ judgement.healthy_samples, 1)
    return float(np.quantile(shares, 0.05))


def auroc(healthy: NDArray[Any], faulty: NDArray[Any]) -> float:
    """The chance that a faulty sample scores higher than a healthy one; ties count half."""
    values, place = np.unique(np.concatenate([healthy, faulty]), return_inverse=True)
    of_healthy = np.bincount(place[: len(healthy)], minlength=len(values))
    of_faulty = np.bincount(place[len(healthy) :], minlength=len(values))
    below = np.cumsum(of_healthy) - of_healthy / 2
    return float((of_faulty * below).sum() / (len(healthy) * len(faulty)))


def _from_workshops(
    telemetry: Telemetry, part: NDArray[np.int8], reports: Sequence[Report], window_s: float
) -> Labelled:
    """Samples of held-out cars within the window before a reported failure."""
    place = {car: number for number, car in enumerate(telemetry.cars)}
    components = sorted({report.component for report in reports})
    rows, fault = [np.empty(0, np.intp)], [np.empty(0, np.intp)]
    for report in reports:
        car = place.get(report.car)
        if report.action != "failed" or car is None or part[car] == TRAINING:
            continue
        first, last = np.searchsorted(telemetry.car, [car, car + 1])
        time_ms = telemetry.sampled_at_ms[first:last]
        before = (time_ms <= report.occurred_at_ms) & (time_ms > report.occurred_at_ms - 1000 * window_s)
        rows.append(first + np.flatnonzero(before))
        fault.append(np.full(len(rows[-1]), components.index(report.component)))
    kept, faults = np.concatenate(rows), np.concatenate(fault)
    used = np.unique(faults)
    names = tuple(components[number] for number in used)
    return Labelled(
        WORKSHOP, names, telemetry.signals[kept], telemetry.car[kept], np.searchsorted(used, faults)
    )


def _from_deviations(healthy: Floats, car: robust.Cars, seed: int) -> Labelled:
    every = deviations.DEVIATIONS
    moved = [deviations.growing(healthy, car, each, seed + place) for place, each in enumerate(every)]
    return Labelled(
        DEVIATION,
        tuple(each.name for each in every),
        np.concatenate(moved),
        np.tile(car, len(every)),
        np.repeat(np.arange(len(every)), len(car)),
    )


def _thinned(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Every second, third, … of the rows, so that no more than _SAMPLES_MAX are left."""
    return rows[:: max(1, -(-len(rows) // _SAMPLES_MAX))]


def _resamples(samples: NDArray[Any], seed: int) -> NDArray[Any]:
    """(_RESAMPLES, cars): how often each car that has samples is drawn, as many draws as there are."""
    present = np.flatnonzero(samples)
    rng = np.random.default_rng(seed)
    weights = np.zeros((_RESAMPLES, len(samples)))
    weights[:, present] = rng.multinomial(len(present), np.full(len(present), 1 / len(present)), _RESAMPLES)
    return weights
