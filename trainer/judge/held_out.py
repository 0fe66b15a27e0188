"""The cars that no model learns from: calibration cars, healthy test cars, and cars with known failures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.maintenance import FAILED
from contract.telemetry import Floats
from trainer import log_slice
from trainer.judge import deviations
from trainer.log_slice import MaintenanceReport, Telemetry
from trainer.model.domain import Domain
from trainer.model.replay import Rows, ranks, runs
from trainer.model.robust import CarNumbers
from trainer.settings import Settings
from trainer.split import CALIBRATION, TEST, TRAINING

_ROWS_MAX = 1_000_000  # of each kind, in whole cars: more says little new and takes time
WORKSHOP, DEVIATION = "workshop reports", "growing deviations"  # `labels` in the manifest


@dataclass(frozen=True)
class Labelled:
    """n rows of faulty cars, by car and time, and f failures in them."""

    source: str  # WORKSHOP or DEVIATION
    faults: tuple[str, ...]  # names of the kinds of fault
    signals: Floats  # (n, K)
    # (n,) the drive that each row is of: a detector starts anew with each. With deviations the same healthy
    # car has a drive for each of them.
    drive: CarNumbers
    car: CarNumbers  # (n,)
    fault: Rows  # (f,) the kind of each failure, an index in `faults`
    first: Rows  # (f,) the first row in which it grows: an alert that opens from here on ...
    after: Rows  # (f,) ... to before this row foresees it

    @property
    def failing_car(self) -> CarNumbers:
        """(f,) the car of each failure."""
        return np.asarray(self.car[self.first])


@dataclass(frozen=True)
class HeldOut:
    """What no detector has learned from, rows by car and time; cars with a fault are only in `faulty`."""

    judged_from: int  # a car's rows before this number do not count: it is being learned
    interval_s: float  # between two samples of a car, in the median
    calibration: Floats  # (c, K) sets the threshold
    calibration_car: CarNumbers  # (c,)
    healthy: Floats  # (h, K) counts false alarms
    healthy_car: CarNumbers  # (h,)
    faulty: Labelled  # counts failures foreseen


def held_out(
    domain: Domain,
    telemetry: Telemetry,
    part: NDArray[np.int8],
    reports: Sequence[MaintenanceReport],
    settings: Settings,
    *,
    judged_from: int,
    interval_s: float,
) -> HeldOut:
    """The held-out rows; `part` (cars,) is the part of each car.

    The workshops' reports are the labels if they are about enough held-out cars, else artificial deviations.
    """
    faulty_cars = log_slice.faulty_cars(reports)
    sound = np.array([car not in faulty_cars for car in telemetry.cars], bool)
    calibration = _whole_cars(telemetry.car, (sound & (part == CALIBRATION))[telemetry.car])
    test = _whole_cars(telemetry.car, (sound & (part == TEST))[telemetry.car])
    healthy, healthy_car = telemetry.signals[test], telemetry.car[test]
    faulty = _from_workshops(telemetry, part, reports, settings.label_window_s, judged_from)
    if len(np.unique(faulty.failing_car)) < settings.labelled_cars_min:
        faulty = from_deviations(domain, healthy, healthy_car, judged_from, settings.seed)
    return HeldOut(
        judged_from=judged_from,
        interval_s=interval_s,
        calibration=telemetry.signals[calibration],
        calibration_car=telemetry.car[calibration],
        healthy=healthy,
        healthy_car=healthy_car,
        faulty=faulty,
    )


def _from_workshops(
    telemetry: Telemetry,
    part: NDArray[np.int8],
    reports: Sequence[MaintenanceReport],
    window_s: float,
    judged_from: int,
) -> Labelled:
    """Failures of held-out cars, each with the window before it, as far as the car was learned by then."""
    number = {car: index for index, car in enumerate(telemetry.cars)}
    components = sorted({report.component for report in reports if report.action == FAILED})
    failures = []
    for report in reports:
        car = number.get(report.car)
        if report.action != FAILED or car is None or part[car] == TRAINING:
            continue
        start, end = np.searchsorted(telemetry.car, [car, car + 1])
        window_ms = [report.occurred_at_ms - 1000 * window_s, report.occurred_at_ms]
        first, after = start + np.searchsorted(telemetry.sampled_at_ms[start:end], window_ms, side="right")
        first = max(first, start + judged_from)
        if first < after:
            failures.append((car, components.index(report.component), first, after))
    failing_car, component, first, after = np.array(sorted(failures), np.intp).reshape(-1, 4).T
    used, fault = np.unique(component, return_inverse=True)
    rows = _whole_cars(telemetry.car, np.isin(telemetry.car, failing_car))
    kept = first <= (rows[-1] if len(rows) else -1)
    return Labelled(
        source=WORKSHOP,
        faults=tuple(components[index] for index in used),
        signals=telemetry.signals[rows],
        drive=telemetry.car[rows],
        car=telemetry.car[rows],
        fault=fault[kept],
        first=np.searchsorted(rows, first[kept]),
        after=np.searchsorted(rows, after[kept]),
    )


def from_deviations(
    domain: Domain, healthy: Floats, car: CarNumbers, judged_from: int, seed: int
) -> Labelled:
    """Every deviation grown into healthy cars, or into some of them where there are too many rows."""
    faults = deviations.artificial_faults(domain, healthy)
    cars = np.unique(car[ranks(car) >= judged_from])
    stride = max(1, -(-len(car) * len(faults) // (2 * _ROWS_MAX)))
    drives_before, rows_before = 0, 0
    parts = []  # (signals, drive, car, fault, first, after) of each deviation
    for index, deviation in enumerate(faults):
        rows = np.flatnonzero(np.isin(car, cars[index % stride :: stride]))
        moved = deviations.grown(
            domain, healthy[rows], car[rows], deviation, begins=judged_from, seed=seed + index
        )
        starts, lengths = runs(car[rows])
        first, after = rows_before + starts + judged_from, rows_before + starts + lengths
        parts.append((moved, car[rows] + drives_before, car[rows], np.full(len(starts), index), first, after))
        drives_before += int(car.max()) + 1
        rows_before += len(rows)
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Labelled(DEVIATION, tuple(deviation.name for deviation in faults), *columns)


def _whole_cars(car: CarNumbers, wanted: NDArray[np.bool_]) -> Rows:
    """The wanted rows, or those of every second, third, … of their cars: at most about _ROWS_MAX."""
    rows = np.flatnonzero(wanted)
    every = -(-len(rows) // _ROWS_MAX)
    return rows if every <= 1 else rows[np.isin(car[rows], np.unique(car[rows])[::every])]
