"""The cars that no model learns from: calibration cars, healthy test cars, and samples known to be faulty."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats
from trainer import deviations, robust
from trainer.domain import Domain
from trainer.log_slice import Report, Telemetry
from trainer.settings import Settings
from trainer.split import CALIBRATION, TEST, TRAINING

_SAMPLES_MAX = 20_000  # of healthy cars of a part: more says nothing new and takes time
WORKSHOP, DEVIATION = "workshop reports", "growing deviations"


@dataclass(frozen=True)
class Labelled:
    """Samples (n, K) of faulty cars: whose (n,), and which fault (n,), a place in `faults`."""

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


def held_out(
    domain: Domain, telemetry: Telemetry, part: NDArray[np.int8], reports: Sequence[Report], told: Settings
) -> HeldOut:
    """The held-out samples. `part` (cars,) is the part of each car.

    Where enough held-out cars have a reported failure, the workshops' reports are the labels.
    """
    reported = {report.car for report in reports}
    sound = np.array([car not in reported for car in telemetry.cars], bool)
    calibration = _thinned(np.flatnonzero((sound & (part == CALIBRATION))[telemetry.car]))
    test = _thinned(np.flatnonzero((sound & (part == TEST))[telemetry.car]))
    healthy, healthy_car = telemetry.signals[test], telemetry.car[test]
    faulty = _from_workshops(telemetry, part, reports, told.label_window_s)
    if len(np.unique(faulty.car)) < told.labelled_cars_min:
        faulty = _from_deviations(domain, healthy, healthy_car, told.seed)
    return HeldOut(
        cars=len(telemetry.cars),
        calibration=telemetry.signals[calibration],
        calibration_car=telemetry.car[calibration],
        healthy=healthy,
        healthy_car=healthy_car,
        faulty=faulty,
    )


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


def _from_deviations(domain: Domain, healthy: Floats, car: robust.Cars, seed: int) -> Labelled:
    every = domain.deviations
    moved = [deviations.growing(domain, healthy, car, each, seed + place) for place, each in enumerate(every)]
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
