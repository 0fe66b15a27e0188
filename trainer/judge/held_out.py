"""The cars that no model learns from: calibration cars, healthy test cars, and failures known beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats
from trainer.judge import deviations
from trainer.log_slice import Report, Telemetry
from trainer.model.domain import Domain
from trainer.model.replay import ranks, runs
from trainer.model.robust import CarNumbers
from trainer.settings import Settings
from trainer.split import CALIBRATION, TEST, TRAINING

# Of a part, whole cars: more says little new and takes time.
_ROWS_MAX = 1_000_000
WORKSHOP, DEVIATION = "workshop reports", "growing deviations"

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Labelled:
    """Rows (n, K) of faulty cars by car and time, and f failures.

    `run` (n,) counts the runs of rows that a detector begins anew; `car` (n,) is whose they are: with
    deviations the same healthy car comes once for each. Of each failure `fault`, a place in `faults`, and the
    rows from `first` to before `after` in which it grew: an alert that opens there foresees it. (f,) each.
    """

    source: str
    faults: tuple[str, ...]
    signals: Floats
    run: CarNumbers
    car: CarNumbers
    fault: Rows
    first: Rows
    after: Rows

    @property
    def failing_car(self) -> CarNumbers:
        """(f,) whose failures they are."""
        return np.asarray(self.car[self.first])


@dataclass(frozen=True)
class HeldOut:
    """What no detector has learned from: rows by car and time, reported cars only in `faulty`.

    Nothing counts before a car's row number `judged_from`: it is being learned.
    """

    judged_from: int
    interval_s: float
    calibration: Floats
    calibration_car: CarNumbers
    healthy: Floats
    healthy_car: CarNumbers
    faulty: Labelled


def held_out(
    domain: Domain,
    telemetry: Telemetry,
    part: NDArray[np.int8],
    reports: Sequence[Report],
    told: Settings,
    *,
    judged_from: int,
    interval_s: float,
) -> HeldOut:
    """The held-out rows. `part` (cars,) is the part of each car.

    Where enough held-out cars have a reported failure, the workshops' reports are the labels.
    """
    reported = {report.car for report in reports}
    sound = np.array([car not in reported for car in telemetry.cars], bool)
    calibration = _whole_cars(telemetry.car, (sound & (part == CALIBRATION))[telemetry.car])
    test = _whole_cars(telemetry.car, (sound & (part == TEST))[telemetry.car])
    healthy, healthy_car = telemetry.signals[test], telemetry.car[test]
    faulty = _from_workshops(telemetry, part, reports, told.label_window_s, judged_from)
    if len(np.unique(faulty.failing_car)) < told.labelled_cars_min:
        faulty = _from_deviations(domain, healthy, healthy_car, judged_from, told.seed)
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
    telemetry: Telemetry, part: NDArray[np.int8], reports: Sequence[Report], window_s: float, judged_from: int
) -> Labelled:
    """Failures of held-out cars, each with the window before it, as far as its car was learned by then."""
    place = {car: number for number, car in enumerate(telemetry.cars)}
    components = sorted({report.component for report in reports})
    found = []
    for report in reports:
        car = place.get(report.car)
        if report.action != "failed" or car is None or part[car] == TRAINING:
            continue
        start, end = np.searchsorted(telemetry.car, [car, car + 1])
        window = [report.occurred_at_ms - 1000 * window_s, report.occurred_at_ms]
        first, after = start + np.searchsorted(telemetry.sampled_at_ms[start:end], window, side="right")
        first = max(first, start + judged_from)
        if first < after:
            found.append((car, components.index(report.component), first, after))
    failures = np.array(sorted(found), np.intp).reshape(-1, 4)
    used, fault = np.unique(failures[:, 1], return_inverse=True)
    chosen = _whole_cars(telemetry.car, np.isin(telemetry.car, failures[:, 0]))
    inside = failures[:, 2] <= (chosen[-1] if len(chosen) else -1)
    return Labelled(
        WORKSHOP,
        tuple(components[number] for number in used),
        telemetry.signals[chosen],
        telemetry.car[chosen],
        telemetry.car[chosen],
        fault[inside],
        np.searchsorted(chosen, failures[inside, 2]),
        np.searchsorted(chosen, failures[inside, 3]),
    )


def _from_deviations(
    domain: Domain, healthy: Floats, car: CarNumbers, judged_from: int, seed: int
) -> Labelled:
    """Every deviation grown into healthy cars, or into some of them where they are many."""
    every = deviations.of(domain, healthy)
    number = ranks(car)
    cars = np.unique(car[number >= judged_from])
    stride = max(1, -(-len(car) * len(every) // (2 * _ROWS_MAX)))
    signals, run, cars_of, fault, first, after = [], [], [], [], [], []
    rows = 0
    for place, each in enumerate(every):
        chosen = np.flatnonzero(np.isin(car, cars[place % stride :: stride]))
        moved = deviations.growing(
            domain, healthy[chosen], car[chosen], each, begins=judged_from, seed=seed + place
        )
        starts, lengths = runs(car[chosen])
        signals.append(moved)
        run.append(car[chosen] + place * (int(car.max()) + 1))
        cars_of.append(car[chosen])
        fault.append(np.full(len(starts), place))
        first.append(rows + starts + judged_from)
        after.append(rows + starts + lengths)
        rows += len(chosen)
    return Labelled(
        DEVIATION,
        tuple(each.name for each in every),
        np.concatenate(signals),
        np.concatenate(run),
        np.concatenate(cars_of),
        np.concatenate(fault),
        np.concatenate(first),
        np.concatenate(after),
    )


def _whole_cars(car: CarNumbers, wanted: NDArray[np.bool_]) -> Rows:
    """The wanted rows, or those of every second, third, … of their cars, so that not too many are left."""
    rows = np.flatnonzero(wanted)
    every = -(-len(rows) // _ROWS_MAX)
    return rows if every <= 1 else rows[np.isin(car[rows], np.unique(car[rows])[::every])]
