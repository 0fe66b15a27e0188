"""Gradual faults of components: hidden onset, growth to failure, repair by a workshop, which reports later.

The plan of a car's incidents is drawn from its key, so it is the same however the fleet is split. `ageing`
divides every time of wear and workshop and never touches the driving. Severity is 0 for a sound component
and 1 when it has failed; what a severity does is said in numbers of physics (`Kind.parts`, `Damage`).
"""

import bisect
from collections.abc import Iterable
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

# Sensors that exist once, with the error of one that drifts at the end, about where on-board diagnosis calls
# it implausible (SAE J2012: P0101, P0111, P0116 …): 1 % of the voltage, 2 % of a Hall sensor's 400 A, an NTC
# by its resistance 15 to 20 % off, dust on the hot wire, a loose mount. Not here: four pressures, four
# accelerometers and the speed of four wheels show an outlier by comparison, a pedal has two sensors for
# safety, the state of charge is computed, the firmware is a number.
DRIFTS = {
    "coolant_temp": (8.0, "K"),
    "intake_air_temp": (8.0, "K"),
    "intake_air_flow_speed": (20.0, "g/s"),
    "battery_voltage": (4.0, "V"),
    "current_draw": (8.0, "A"),
    "engine_vibration_amplitude": (250.0, "mV"),
}

_PURPOSE = 8
_STUCK_PURPOSE = 1 << 32  # and from there on, one a window of time
# A loose contact comes and goes by bumps and warmth: in minutes, with ageing faster, but not within samples.
STUCK_WINDOW_S, STUCK_WINDOW_MIN_S = 60.0, 5.0


@dataclass(frozen=True)
class Kind:
    """A way of failing. From onset to failure it takes hours of driving between the two bounds."""

    name: str
    parts: dict[str, tuple[float, str]]  # component: size of the effect when it has failed, its unit
    hours: tuple[float, float]
    shape: float = 1.0  # severity = progress ** shape: 1 is linear, above 1 it accelerates


def _four(component: str, size: float, unit: str) -> dict[str, tuple[float, str]]:
    return {f"{component}_{wheel}": (size, unit) for wheel in WHEELS}


KINDS = (
    # A weeping hose or water pump: litres in days, faster as the crack opens.
    Kind("coolant_leak", {"coolant_circuit": (0.8, "of the coolant")}, (6, 20), 1.3),
    # Dust: the pressure drop grows about linearly with what the filter has caught.
    Kind("clogged_air_filter", {"air_filter": (0.65, "of the air")}, (20, 50)),
    # Spalling of a raceway feeds itself (ISO 281 speaks of the end of life at its first sign).
    Kind("bearing_wear", _four("wheel_bearing", 6.0, "m/s² at 25 m/s"), (15, 40), 2.0),
    # A nail: 16 psi in 4 to 12 h, that is 1.3 to 4 psi an hour; the law's warning comes at 25 % (FMVSS 138).
    Kind("slow_puncture", _four("tire", 16.0, "psi"), (4, 12)),
    # End of life is twice the resistance or four fifths of the capacity (USABC); the years until the knee
    # cannot be seen, after it the decline accelerates (Attia et al. 2022). Here: that last part, a quick one.
    Kind("battery_ageing", {"battery": (1.0, "of the resistance")}, (30, 80), 1.5),
    # Slide pins seize with rust: residual torque from 2 N·m of a sound brake to 100 N·m, at 0.32 m of radius.
    Kind("brake_drag", _four("brake", 310.0, "N"), (10, 40), 1.5),
    # Fretting of a contact: interruptions, during which the last value stands, multiply (Antler 1985).
    Kind("sensor_stuck", {f"{name}_sensor": (1.0, "of the time") for name in DRIFTS}, (8, 30), 2.0),
    Kind("sensor_drift", {f"{name}_sensor": size for name, size in DRIFTS.items()}, (20, 60)),
)
# One row a component and kind; those of sensors come last and are nothing that the car itself feels.
FIRST_ROW: dict[str, int] = dict(
    zip((k.name for k in KINDS), np.cumsum([0, *(len(k.parts) for k in KINDS)]).tolist(), strict=False)
)
_DAMAGE_ROWS = FIRST_ROW["sensor_stuck"]
_SIZES = np.array([size for kind in KINDS for size, _ in kind.parts.values()], np.float32)

# A failed bearing more than doubles the vibration of the drive train: added share of it over m/s².
_VIBRATION_OF_BEARING = 1.2 / 6.0
_CAPACITY_LOST_MAX = 0.2


@dataclass(frozen=True)
class Acting:
    """Incidents that act on the cars of a group now; arrays (m,)."""

    incident: NDArray[np.intp]
    place: NDArray[np.intp]  # of the car in the group
    row: NDArray[np.intp]
    severity: F4

    def of(self, kind: str) -> tuple["Acting", NDArray[np.intp]]:
        """Those of one kind, and which of its parts (m,)."""
        first, count = FIRST_ROW[kind], next(len(k.parts) for k in KINDS if k.name == kind)
        its = (self.row >= first) & (self.row < first + count)
        few = Acting(self.incident[its], self.place[its], self.row[its], self.severity[its])
        return few, few.row - first


class Damage:
    """What the incidents that act do to k cars; wheels in the order of WHEELS."""

    def __init__(self, acting: Acting, cars: int) -> None:
        effect = np.zeros((_DAMAGE_ROWS, cars), np.float32)
        felt = acting.row < _DAMAGE_ROWS
        row = acting.row[felt]
        effect[row, acting.place[felt]] = acting.severity[felt] * _SIZES[row]
        of = {kind.name: effect[FIRST_ROW[kind.name] :][: len(kind.parts)] for kind in KINDS}
        self.coolant_kept = 1 - of["coolant_leak"][0]  # share of the coolant and of its flow
        self.filter_pass = 1 - of["clogged_air_filter"][0]  # share of the air that the filter lets through
        self.bearing_mps2 = of["bearing_wear"]  # (4, k) at 25 m/s
        self.lost_psi = of["slow_puncture"]  # (4, k)
        self.resistance = 1 + of["battery_ageing"][0]  # times that of the sound battery
        self.capacity = 1 - _CAPACITY_LOST_MAX * of["battery_ageing"][0]
        self.drag_n = of["brake_drag"]  # (4, k)

    @property
    def vibration(self) -> F4:
        """(k,) share by which the worst bearing adds to the vibration of the drive train."""
        worst: F4 = self.bearing_mps2.max(axis=0) * _VIBRATION_OF_BEARING
        return worst


@dataclass(frozen=True)
class Wear:
    """How the plan is drawn. Times of wear are in hours of the car; `ageing` makes them shorter."""

    share: float = 0.05
    ageing: float = 1.0
    healthy_s: float = 0.0  # no fault begins in the first seconds of the run
    spread_h: float = 24.0  # a prone car's next fault begins within these hours
    kinds: tuple[str, ...] = tuple(FIRST_ROW)  # that occur

    def __post_init__(self) -> None:
        """Raises ValueError for kinds that there are not."""
        if not self.kinds or not {*self.kinds} <= {*FIRST_ROW}:
            raise ValueError(f"kinds {self.kinds} must be some of {', '.join(FIRST_ROW)}")


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
        u = chance.uniforms(keys[prone], _PURPOSE + 1, 8 * INCIDENTS_PER_CAR).reshape(
            INCIDENTS_PER_CAR, 8, -1
        )
        self.wear, self._keys, self._first = wear, keys, first
        self.car = (np.repeat(prone, INCIDENTS_PER_CAR) + first).astype(np.int64)
        names = [kind.name for kind in KINDS]
        allowed = np.array([names.index(name) for name in wear.kinds], np.intp)
        kind = allowed[(u[:, 0] * len(allowed)).astype(np.intp)]
        self.kind = _by_car(kind)
        parts = np.array([len(k.parts) for k in KINDS])
        self.row = _by_car(np.array(list(FIRST_ROW.values()))[kind] + (u[:, 1] * parts[kind]).astype(np.intp))
        self.upwards = _by_car(u[:, 7] < 0.5)  # the way a sensor drifts
        self._shape = np.array([k.shape for k in KINDS], np.float32)[self.kind]
        self._schedule(kind, u, wear)
        self._cars_sorted = self.car.tolist()
        # Report 2i tells of the failure of incident i, report 2i+1 of its repair.
        self.reported_s = np.stack([self._failure_told_s, self._repair_told_s], axis=1).ravel()
        self.report_order = np.argsort(self.reported_s, kind="stable")

    def _schedule(self, kind: NDArray[np.intp], u: F8, wear: Wear) -> None:
        hour_s = HOUR_S / wear.ageing
        low, high = (np.array([k.hours[i] for k in KINDS])[kind] for i in (0, 1))
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

    def acting(self, group: slice, now_s: float) -> Acting:
        """What acts now on the cars start:stop of this plan."""
        start = bisect.bisect_left(self._cars_sorted, self._first + group.start)
        stop = bisect.bisect_left(self._cars_sorted, self._first + group.stop, start)
        severity = self.severity(now_s, slice(start, stop))
        few = np.flatnonzero(severity)
        incident = few + start
        place = self.car[incident] - (self._first + group.start)
        return Acting(incident, place, self.row[incident], severity[few])

    def out_of_contact(self, acting: Acting, now_s: float) -> NDArray[np.bool_]:
        """(m,) whether a sensor that acts as stuck is so now: its severity is the share of such times."""
        lasts_s = max(STUCK_WINDOW_S / self.wear.ageing, STUCK_WINDOW_MIN_S)
        window = _STUCK_PURPOSE + max(0, int(now_s // lasts_s))
        car_keys = self._keys[self.car[acting.incident] - self._first]
        lost: NDArray[np.bool_] = chance.uniforms(car_keys, window, 1)[0] < acting.severity
        return lost

    def component(self, incident: int) -> str:
        """Name of the part, with its wheel where there are four of it: wheel_bearing_1_2."""
        kind: Kind = KINDS[self.kind[incident]]
        return tuple(kind.parts)[int(self.row[incident]) - FIRST_ROW[kind.name]]

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
            {"car_id": car_id(car), "kind": KINDS[self.kind[i]].name, "component": self.component(i)}
            | {name: epoch_ms + round(1000 * float(times[i])) for name, times in self._times()}
            for i, car in enumerate(self._cars_sorted)
        ]

    def _times(self) -> tuple[tuple[str, F8], ...]:
        return (("onset_at", self.onset_s), ("failed_at", self.failed_s), ("repaired_at", self.repaired_s))


def severities(plans: Iterable[FaultPlan]) -> list[dict[str, Any]]:
    """How fast faults grow in these plans, a row a kind and size, for a table or JSON.

    Hours of wear from onset to failure and the mean growth an hour, in the unit, each as {p10, p50, p90}.
    """
    hours: dict[tuple[str, float, str], list[float]] = {}
    for plan in plans:
        grown_h = (plan.failed_s - plan.onset_s) * (plan.wear.ageing / HOUR_S)
        for incident, growth_h in enumerate(grown_h.tolist()):
            kind = KINDS[plan.kind[incident]]
            key = (kind.name, *kind.parts[plan.component(incident)])
            hours.setdefault(key, []).append(growth_h)
    return [
        {
            "kind": name,
            "incidents": len(hours[name, size, unit]),
            "at_failure": size,
            "unit": unit,
            "hours_to_failure": _spread(np.array(hours[name, size, unit])),
            "per_hour": _spread(size / np.array(hours[name, size, unit])),
        }
        for name, size, unit in sorted(hours)
    ]


def _spread(values: F8) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(values, share)), 4) for share in (10, 50, 90)}


def _by_car(table: NDArray[Any]) -> NDArray[Any]:
    """(incidents a car, cars) to one row ordered by car."""
    return np.ascontiguousarray(table.T).ravel()
