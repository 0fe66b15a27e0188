"""Gradual faults of components: hidden onset, growth to failure, repair by a workshop, which reports later.

The plan of a car's incidents is drawn from its key, so it is the same however the fleet is split. `ageing`
divides every time of wear and workshop and never touches the driving. Severity is 0 for a sound component
and 1 when it has failed; what a severity does to the car is said in numbers of physics (`Damage`).
"""

import bisect
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator import chance
from simulator.cars import car_id
from simulator.chance import F4, F8, U8

WHEELS = ("1_1", "1_2", "2_1", "2_2")
HOUR_S = 3600.0
INCIDENTS_PER_CAR = 4  # of a car that is prone to faults, one after the other

_PURPOSE = 8


@dataclass(frozen=True)
class Kind:
    """A fault of a component. From onset to failure it takes hours of driving between the two bounds."""

    component: str
    hours: tuple[float, float]
    shape: float  # severity = progress ** shape: 1 is linear, above 1 it accelerates
    row: int  # its first row in `Damage`
    wheels: bool = False


KINDS = (
    # A weeping hose or water pump: litres in days, faster as the crack opens.
    Kind("coolant_circuit", (6, 20), 1.3, 0),
    # Dust: the pressure drop grows about linearly with what the filter has caught.
    Kind("air_filter", (20, 50), 1.0, 1),
    # Spalling of a raceway feeds itself (ISO 281 speaks of the end of life at its first sign).
    Kind("wheel_bearing", (15, 40), 2.0, 2, wheels=True),
    # A nail: 16 psi in 4 to 12 h, that is 1.3 to 4 psi an hour; the law's warning comes at 25 % (FMVSS 138).
    Kind("tire", (4, 12), 1.0, 6, wheels=True),
)
ROWS = 10

_COOLANT_LOST_MAX, _AIR_BLOCKED_MAX = 0.8, 0.65
_BEARING_VIBRATION_MAX, _BEARING_MPS2_MAX = 1.2, 6.0
_TIRE_LOST_PSI = 16.0


class Damage:
    """What the severities (ROWS, k) mean for k cars; a new car has only zeros."""

    def __init__(self, severity: F4) -> None:
        self.coolant_kept = 1 - _COOLANT_LOST_MAX * severity[0]  # share of the coolant and of its flow
        self.filter_pass = 1 - _AIR_BLOCKED_MAX * severity[1]  # share of the air that the filter lets through
        self.vibration = _BEARING_VIBRATION_MAX * severity[2:6].max(axis=0)  # added share of the vibration
        self.bearing_mps2 = _BEARING_MPS2_MAX * severity[2:6]  # (4, k) at 25 m/s
        self.lost_psi = _TIRE_LOST_PSI * severity[6:10]  # (4, k)


@dataclass(frozen=True)
class Wear:
    """How the plan is drawn. Times of wear are in hours of the car; `ageing` makes them shorter."""

    share: float = 0.05
    ageing: float = 1.0
    healthy_s: float = 0.0  # no fault begins in the first seconds of the run
    spread_h: float = 24.0  # a prone car's next fault begins within these hours


@dataclass(frozen=True)
class Report:
    """What a workshop says about a car, some time after it happened. Times in seconds of the run."""

    car: int
    report_id: str
    component: str
    action: str  # failed or repaired
    occurred_s: float
    reported_s: float


class FaultPlan:
    """The incidents of the cars first … first+len(keys)-1, ordered by car. Times in seconds of the run."""

    def __init__(self, keys: U8, first: int, wear: Wear) -> None:
        prone = np.flatnonzero(chance.uniforms(keys, _PURPOSE, 1)[0] < wear.share)
        u = chance.uniforms(keys[prone], _PURPOSE + 1, 7 * INCIDENTS_PER_CAR).reshape(
            INCIDENTS_PER_CAR, 7, -1
        )
        self.car = (np.repeat(prone, INCIDENTS_PER_CAR) + first).astype(np.int64)
        self.kind = _by_car((u[:, 0] * len(KINDS)).astype(np.intp))
        self.wheel = _by_car((u[:, 1] * len(WHEELS)).astype(np.intp))
        self._schedule(u, wear)
        self.row = np.array([k.row for k in KINDS])[self.kind] + self.wheel * _of_kinds("wheels")[self.kind]
        self._shape = _of_kinds("shape")[self.kind].astype(np.float32)
        self._cars_sorted = self.car.tolist()
        # Report 2i tells of the failure of incident i, report 2i+1 of its repair.
        self.reported_s = np.stack([self._failure_told_s, self._repair_told_s], axis=1).ravel()
        self.report_order = np.argsort(self.reported_s, kind="stable")

    def _schedule(self, u: F8, wear: Wear) -> None:
        hour_s = HOUR_S / wear.ageing
        low, high = (
            np.array([k.hours[i] for k in KINDS])[(u[:, 0] * len(KINDS)).astype(np.intp)] for i in (0, 1)
        )
        wait_s = u[:, 2] * wear.spread_h * hour_s
        growth_s = (low + (high - low) * u[:, 3]) * hour_s
        workshop_s = (1 + 5 * u[:, 4]) * hour_s
        before = np.cumsum(wait_s + growth_s + workshop_s, axis=0) - (wait_s + growth_s + workshop_s)
        self.onset_s = _by_car(wear.healthy_s + before + wait_s)
        self.failed_s = self.onset_s + _by_car(growth_s)
        self.repaired_s = self.failed_s + _by_car(workshop_s)
        self._failure_told_s = self.failed_s + _by_car((0.2 + 0.8 * u[:, 5]) * hour_s)
        self._repair_told_s = self.repaired_s + _by_car((0.1 + 0.4 * u[:, 6]) * hour_s)

    def severity(self, now_s: float, part: slice = slice(None)) -> F4:
        """0..1 for every incident of `part`: 0 before the onset and after the repair."""
        onset, failed = self.onset_s[part], self.failed_s[part]
        progress = np.clip((now_s - onset) / (failed - onset), 0, 1).astype(np.float32)
        progress *= self.repaired_s[part] > now_s
        grown: F4 = progress ** self._shape[part]
        return grown

    def wear_down(self, severity: F4, first: int, group: slice, now_s: float) -> None:
        """Write the severities of now into `severity` (ROWS, n) for the cars first + group."""
        start = bisect.bisect_left(self._cars_sorted, first + group.start)
        stop = bisect.bisect_left(self._cars_sorted, first + group.stop, start)
        if start == stop:
            return
        part = slice(start, stop)
        car = self.car[part] - first
        severity[:, car] = 0
        np.add.at(severity, (self.row[part], car), self.severity(now_s, part))

    def component(self, incident: int) -> str:
        """Name of the part, with its wheel where there are four of it: wheel_bearing_1_2."""
        kind = KINDS[self.kind[incident]]
        return f"{kind.component}_{WHEELS[self.wheel[incident]]}" if kind.wheels else kind.component

    def report(self, number: int) -> Report:
        """The report that is told as number 0, 1, 2, … of this plan. Raises IndexError past the last."""
        incident, repaired = divmod(int(self.report_order[number]), 2)
        car, component = int(self.car[incident]), self.component(incident)
        action = "repaired" if repaired else "failed"
        happened = self.repaired_s if repaired else self.failed_s
        return Report(
            car=car,
            report_id=f"{car_id(car)}-{incident % INCIDENTS_PER_CAR}-{component}-{action}",
            component=component,
            action=action,
            occurred_s=float(happened[incident]),
            reported_s=float(self.reported_s[2 * incident + repaired]),
        )

    def truth(self, epoch_ms: int) -> list[dict[str, Any]]:
        """What no telemetry may tell: every incident, times in ms since 1970."""
        return [
            {"car_id": car_id(car), "component": self.component(i)}
            | {name: epoch_ms + round(1000 * float(times[i])) for name, times in self._times()}
            for i, car in enumerate(self._cars_sorted)
        ]

    def _times(self) -> tuple[tuple[str, F8], ...]:
        return (("onset_at", self.onset_s), ("failed_at", self.failed_s), ("repaired_at", self.repaired_s))


def _by_car(table: NDArray[Any]) -> NDArray[Any]:
    """(incidents a car, cars) to one row ordered by car."""
    return np.ascontiguousarray(table.T).ravel()


def _of_kinds(name: str) -> NDArray[Any]:
    return np.array([getattr(kind, name) for kind in KINDS])
