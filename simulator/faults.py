"""Gradual faults of components: hidden onset, growth to failure, repair by a workshop, which reports later.

The plan of a car's incidents is drawn from its key, so it does not depend on how the fleet is split. `ageing`
divides the durations of wear and repair and does not change the driving. The severity is 0 for a healthy
component and 1 for a failed one; `FaultKind.components` and `Damage` give its physical effect.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator import chance
from simulator.cars import car_id
from simulator.chance import F4, F8, U8
from simulator.scenario import Scenario

WHEELS = ("1_1", "1_2", "2_1", "2_2")
HOUR_S = 3600.0
INCIDENTS_PER_CAR = 4  # of a car that is prone to faults, one after another

# Sensors of which a car has only one, with their error when fully drifted: about where on-board diagnosis
# finds a reading implausible (SAE J2012: P0101, P0111, P0116 …). 1 % of the voltage, 2 % of the 400 A of a
# Hall sensor, 15 to 20 % of the resistance of an NTC, dust on the hot wire, a loose mount. Not listed:
# pressures, accelerometers and wheel speeds (comparing the four shows an outlier), the pedal (it has two
# sensors), the state of charge (it is computed) and the firmware (it is no measurement).
DRIFTS = {
    "coolant_temp": (8.0, "K"),
    "intake_air_temp": (8.0, "K"),
    "intake_air_flow_speed": (20.0, "g/s"),
    "battery_voltage": (4.0, "V"),
    "current_draw": (8.0, "A"),
    "engine_vibration_amplitude": (250.0, "mV"),
    "motor_temp": (8.0, "K"),
}

_PURPOSE = 8
_STUCK_PURPOSE = 1 << 32  # the first of many, one per window of time
# Bumps and warmth open and close a loose contact within minutes, or faster with `ageing`, but not per sample.
STUCK_WINDOW_S, STUCK_WINDOW_MIN_S = 60.0, 5.0


@dataclass(frozen=True)
class FaultKind:
    """A way in which components fail."""

    name: str
    components: dict[str, tuple[float, str]]  # name: effect of the failed component and its unit
    hours: tuple[float, float]  # shortest and longest driving time from onset to failure
    shape: float = 1.0  # severity = progress ** shape: 1 is linear, above 1 it accelerates


def _four(component: str, size: float, unit: str) -> dict[str, tuple[float, str]]:
    return {f"{component}_{wheel}": (size, unit) for wheel in WHEELS}


KINDS = (
    # A leaking hose or water pump loses litres within days, faster as the crack opens.
    FaultKind("coolant_leak", {"coolant_circuit": (0.8, "of the coolant")}, (6, 20), 1.3),
    # The pressure drop grows about linearly with the dust in the filter.
    FaultKind("clogged_air_filter", {"air_filter": (0.65, "of the air")}, (20, 50)),
    # Spalling of a raceway accelerates itself (ISO 281: its first sign is the end of life).
    FaultKind("bearing_wear", _four("wheel_bearing", 6.0, "m/s² at 25 m/s"), (15, 40), 2.0),
    # A nail: 16 psi in 4 to 12 h are 1.3 to 4 psi an hour; a warning is mandatory at 25 % (FMVSS 138).
    FaultKind("slow_puncture", _four("tire", 16.0, "psi"), (4, 12)),
    # End of life is twice the resistance or four fifths of the capacity (USABC). The decline accelerates
    # after a knee (Attia et al. 2022); only the part after the knee is simulated, and a fast one.
    FaultKind("battery_ageing", {"battery": (1.0, "of the resistance")}, (30, 80), 1.5),
    # Rusty slide pins: the residual torque grows from 2 N·m (healthy) to 100 N·m, at a radius of 0.32 m.
    FaultKind("brake_drag", _four("brake", 310.0, "N"), (10, 40), 1.5),
    # Fretting of a contact: interruptions, which freeze the reading, become more frequent (Antler 1985).
    FaultKind("sensor_stuck", {f"{name}_sensor": (1.0, "of the time") for name in DRIFTS}, (8, 30), 2.0),
    FaultKind("sensor_drift", {f"{name}_sensor": size for name, size in DRIFTS.items()}, (20, 60)),
)
# Every component of every kind has a row. Faults of sensors come last; they have no effect on the car itself.
FIRST_ROW: dict[str, int] = dict(
    zip((k.name for k in KINDS), np.cumsum([0, *(len(k.components) for k in KINDS)]).tolist(), strict=False)
)
_DAMAGE_ROWS = FIRST_ROW["sensor_stuck"]
_COMPONENTS = [component for kind in KINDS for component in kind.components]
_SIZES = np.array([size for kind in KINDS for size, _ in kind.components.values()], np.float32)

# A failed bearing more than doubles the vibration of the drive train: added share per m/s² of the bearing.
_VIBRATION_OF_BEARING = 1.2 / 6.0
_CAPACITY_LOST_MAX = 0.2


@dataclass(frozen=True)
class ActiveFaults:
    """The incidents that affect the cars of a group at one time; arrays (m,)."""

    incident: NDArray[np.intp]  # index in the plan
    car: NDArray[np.intp]  # index in the group
    row: NDArray[np.intp]  # of the component, see FIRST_ROW
    severity: F4

    def of_kind(self, kind: str) -> tuple["ActiveFaults", NDArray[np.intp]]:
        """(the incidents of one kind, index of the component of each within the kind (m,))."""
        first, count = FIRST_ROW[kind], next(len(k.components) for k in KINDS if k.name == kind)
        mask = (self.row >= first) & (self.row < first + count)
        faults = ActiveFaults(self.incident[mask], self.car[mask], self.row[mask], self.severity[mask])
        return faults, faults.row - first


class Damage:
    """Physical effects of active faults on k cars; wheels in the order of WHEELS."""

    def __init__(self, faults: ActiveFaults, cars: int) -> None:
        effect = np.zeros((_DAMAGE_ROWS, cars), np.float32)
        physical = faults.row < _DAMAGE_ROWS
        row = faults.row[physical]
        effect[row, faults.car[physical]] = faults.severity[physical] * _SIZES[row]
        effects = {kind.name: effect[FIRST_ROW[kind.name] :][: len(kind.components)] for kind in KINDS}
        self.coolant_kept = 1 - effects["coolant_leak"][0]  # share of the coolant and of its flow
        self.filter_pass = 1 - effects["clogged_air_filter"][0]  # share of the air flow through the filter
        self.bearing_mps2 = effects["bearing_wear"]  # (4, k) at 25 m/s
        self.lost_psi = effects["slow_puncture"]  # (4, k)
        self.resistance = 1 + effects["battery_ageing"][0]  # factor on the resistance of the battery
        self.capacity = 1 - _CAPACITY_LOST_MAX * effects["battery_ageing"][0]  # factor on its capacity
        self.drag_n = effects["brake_drag"]  # (4, k)
        # (k,) share that the worst bearing adds to the vibration of the drive train
        self.vibration: F4 = self.bearing_mps2.max(axis=0) * _VIBRATION_OF_BEARING


class FaultPlan:
    """The incidents of the cars first … first+len(keys)-1, ordered by car. Times in seconds of the run."""

    def __init__(self, keys: U8, first: int, scenario: Scenario) -> None:
        prone = np.flatnonzero(chance.uniforms(keys, _PURPOSE, 1)[0] < scenario.faulty_share)
        u = chance.uniforms(keys[prone], _PURPOSE + 1, 8 * INCIDENTS_PER_CAR).reshape(
            INCIDENTS_PER_CAR, 8, -1
        )
        self.scenario, self._keys, self._first = scenario, keys, first
        self.car = (np.repeat(prone, INCIDENTS_PER_CAR) + first).astype(np.int64)
        kind = (u[:, 0] * len(KINDS)).astype(np.intp)
        self.kind = _by_car(kind)
        components = np.array([len(k.components) for k in KINDS])[kind]
        first_row = np.array(list(FIRST_ROW.values()))[kind]
        self.row = _by_car(first_row + (u[:, 1] * components).astype(np.intp))
        self.upwards = _by_car(u[:, 7] < 0.5)  # direction of the drift of a sensor
        self._shape = np.array([k.shape for k in KINDS], np.float32)[self.kind]
        self._schedule(kind, u)

    def _schedule(self, kind: NDArray[np.intp], u: F8) -> None:
        hour_s = HOUR_S / self.scenario.ageing
        low, high = (np.array([k.hours[i] for k in KINDS])[kind] for i in (0, 1))
        wait_s = u[:, 2] * self.scenario.fault_spread_h * hour_s
        growth_s = (low + (high - low) * u[:, 3]) * hour_s
        workshop_s = (1 + 5 * u[:, 4]) * hour_s
        before = np.cumsum(wait_s + growth_s + workshop_s, axis=0) - (wait_s + growth_s + workshop_s)
        self.onset_s = _by_car(self.scenario.healthy_s + before + wait_s)
        self.failed_s = self.onset_s + _by_car(growth_s)
        self.repaired_s = self.failed_s + _by_car(workshop_s)
        failure_reported_s = self.failed_s + _by_car((0.2 + 0.8 * u[:, 5]) * hour_s)
        repair_reported_s = self.repaired_s + _by_car((0.1 + 0.4 * u[:, 6]) * hour_s)
        reported_s = np.stack([failure_reported_s, repair_reported_s], axis=1).ravel()
        # Entry 2i is about the failure of incident i, entry 2i+1 about its repair.
        self._report_order = np.argsort(reported_s, kind="stable")
        # (reports + 1,) time of each report, in ascending order; the one after the last never comes.
        self.reported_s = np.append(reported_s[self._report_order], np.inf)

    def severity(self, now_s: float, incidents: slice = slice(None)) -> F4:
        """Severity, 0 to 1, of these incidents of the plan; 0 before the onset and after the repair."""
        onset, failed = self.onset_s[incidents], self.failed_s[incidents]
        progress = np.clip((now_s - onset) / (failed - onset), 0, 1).astype(np.float32)
        progress *= self.repaired_s[incidents] > now_s
        severity: F4 = progress ** self._shape[incidents]
        return severity

    def active(self, group: slice, now_s: float) -> ActiveFaults:
        """The incidents that affect the cars of `group` (start:stop within this plan) at now_s."""
        start, stop = self.car.searchsorted((self._first + group.start, self._first + group.stop))
        severity = self.severity(now_s, slice(start, stop))
        active = np.flatnonzero(severity)
        incident = active + start
        car = self.car[incident] - (self._first + group.start)
        return ActiveFaults(incident, car, self.row[incident], severity[active])

    def out_of_contact(self, faults: ActiveFaults, now_s: float) -> NDArray[np.bool_]:
        """(m,) whether each loose contact is open at now_s; its severity is the share of time that it is."""
        lasts_s = max(STUCK_WINDOW_S / self.scenario.ageing, STUCK_WINDOW_MIN_S)
        window = _STUCK_PURPOSE + max(0, int(now_s // lasts_s))
        car_keys = self._keys[self.car[faults.incident] - self._first]
        is_open: NDArray[np.bool_] = chance.uniforms(car_keys, window, 1)[0] < faults.severity
        return is_open

    def component(self, incident: int) -> str:
        """Name of the component of an incident, with the wheel where there are four: wheel_bearing_1_2."""
        return _COMPONENTS[int(self.row[incident])]

    def report(self, number: int, epoch_ms: int) -> dict[str, Any]:
        """The workshop's report number 0, 1, 2, … in the order of time, as a record of `maintenance`.

        epoch_ms: second 0 of the run, ms since 1970. Raises IndexError after the last report.
        """
        incident, repaired = divmod(int(self._report_order[number]), 2)
        car, component = car_id(int(self.car[incident])), self.component(incident)
        action, occurred_s = ("repaired", self.repaired_s) if repaired else ("failed", self.failed_s)
        return {
            "car_id": car,
            "report_id": f"{car}-{incident % INCIDENTS_PER_CAR}-{component}-{action}",
            "component": component,
            "action": action,
            "occurred_at": epoch_ms + round(1000 * float(occurred_s[incident])),
            "reported_at": epoch_ms + round(1000 * float(self.reported_s[number])),
        }

    def truth(self, epoch_ms: int) -> list[dict[str, Any]]:
        """Every incident, for the scorecard; no telemetry contains this. Times in ms since 1970."""
        times = {"onset_at": self.onset_s, "failed_at": self.failed_s, "repaired_at": self.repaired_s}
        return [
            {"car_id": car_id(car), "kind": KINDS[self.kind[i]].name, "component": self.component(i)}
            | {name: epoch_ms + round(1000 * float(times_s[i])) for name, times_s in times.items()}
            for i, car in enumerate(self.car.tolist())
        ]


def _by_car(table: NDArray[Any]) -> NDArray[Any]:
    """Flatten (incidents per car, cars) to a row (incidents,) ordered by car."""
    return np.ascontiguousarray(table.T).ravel()
