"""The first scorecard: faults that were there, faults that were found, false alarms.

A car is flagged where at least ANOMALIES_MIN of its records within WINDOW_S were anomalies: a fault stays,
chance does not. The truth comes from the simulator's own plan, which no telemetry carries.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

ANOMALIES_MIN = 3
WINDOW_S = 10.0
# A flag that comes so long after the last one is a new alarm.
QUIET_S = 60.0


@dataclass(frozen=True)
class Fault:
    """One fault of the plan that grew while cars were scored. Times are seconds since 1970."""

    car_id: str
    component: str
    onset_s: float
    failed_s: float
    repaired_s: float
    found_s: float | None = None

    @property
    def lead_s(self) -> float | None:
        """From the first flag to the failure; negative where it was found only after it."""
        return None if self.found_s is None else self.failed_s - self.found_s


@dataclass(frozen=True)
class Scorecard:
    """What was there and what was found between `from_s` and `to_s`, seconds since 1970."""

    from_s: float
    to_s: float
    cars: int
    faults: list[Fault] = field(default_factory=list)
    false_alarms: list[tuple[str, float]] = field(default_factory=list)

    @property
    def found(self) -> list[Fault]:
        """Faults whose car was flagged between their onset and their repair."""
        return [fault for fault in self.faults if fault.found_s is not None]

    def grown(self, share: float = 0.5) -> list[Fault]:
        """Faults that had gone at least so much of the way from onset to failure."""
        return [f for f in self.faults if self.to_s >= f.onset_s + share * (f.failed_s - f.onset_s)]

    def per_component(self) -> dict[str, dict[str, int]]:
        """Kind of component to how many faults were there, half grown, failed, and found."""
        rows: dict[str, dict[str, int]] = defaultdict(
            lambda: dict.fromkeys(("present", "half_grown", "failed", "found"), 0)
        )
        half_grown = set(map(id, self.grown()))
        for fault in self.faults:
            row = rows[kind(fault.component)]
            row["present"] += 1
            row["half_grown"] += id(fault) in half_grown
            row["failed"] += fault.failed_s <= self.to_s
            row["found"] += fault.found_s is not None
        return dict(sorted(rows.items()))

    def as_dict(self) -> dict[str, Any]:
        """For the JSON file."""
        hours = self.cars * (self.to_s - self.from_s) / 3600
        leads = sorted(f.lead_s for f in self.found if f.lead_s is not None and f.failed_s <= self.to_s)
        return {
            "rule": f"{ANOMALIES_MIN} anomalies of a car within {WINDOW_S:.0f} s",
            "seconds": round(self.to_s - self.from_s, 1),
            "cars": self.cars,
            "faults_present": len(self.faults),
            "faults_half_grown": len(self.grown()),
            "faults_found": len(self.found),
            "half_grown_found": sum(fault.found_s is not None for fault in self.grown()),
            "median_lead_s": leads[len(leads) // 2] if leads else None,
            "false_alarms": len(self.false_alarms),
            "false_alarms_per_car_hour": len(self.false_alarms) / hours if hours else None,
            "per_component": self.per_component(),
            "faults": [asdict(fault) | {"lead_s": fault.lead_s} for fault in self.faults],
        }


def kind(component: str) -> str:
    """The component without its place: tire_1_2 is a tire."""
    return component.rstrip("_0123456789")


def flags(times_s: Sequence[float]) -> list[float]:
    """When a car with anomalies at these times is flagged: at every one that completes a window."""
    times = sorted(times_s)
    last = ANOMALIES_MIN - 1
    return [times[i] for i in range(last, len(times)) if times[i] - times[i - last] <= WINDOW_S]


def draw_up(
    truth: Iterable[Mapping[str, Any]],
    anomalies: Mapping[str, Sequence[float]],
    *,
    cars: int,
    from_s: float,
    to_s: float,
) -> Scorecard:
    """Match anomalies (car id to sample times, s since 1970) with the plan's incidents (times in ms)."""
    flagged = {car: flags(times) for car, times in anomalies.items()}
    faults = []
    for incident in truth:
        onset_s, failed_s, repaired_s = (
            incident[name] / 1000 for name in ("onset_at", "failed_at", "repaired_at")
        )
        if onset_s < to_s and repaired_s > from_s:
            hits = [at for at in flagged.get(incident["car_id"], ()) if onset_s <= at <= repaired_s]
            found_s = min(hits, default=None)
            faults.append(
                Fault(incident["car_id"], incident["component"], onset_s, failed_s, repaired_s, found_s)
            )
    return Scorecard(from_s, to_s, cars, faults, _false_alarms(flagged, faults))


def _false_alarms(flagged: Mapping[str, Sequence[float]], faults: Iterable[Fault]) -> list[tuple[str, float]]:
    """Flags outside of every fault of the car, those close together as one alarm."""
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for fault in faults:
        spans[fault.car_id].append((fault.onset_s, fault.repaired_s + WINDOW_S))
    alarms = []
    for car, times in flagged.items():
        last_s = float("-inf")
        for at in times:
            if not any(start <= at <= end for start, end in spans[car]):
                if at - last_s > QUIET_S:
                    alarms.append((car, at))
                last_s = at
    return alarms
