"""The scorecard against the truth: the faults that were there, the alerts on them, and false alarms.

The truth is the simulator's plan of faults, which no telemetry carries. What a running deployment can know
from the workshops' reports alone is in contract/foresight.py.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from contract.foresight import JudgedAlert, kind

# An alert this soon after a repair is not false: the smoothed score still remembers the fault.
AFTERMATH_S = 10.0
_WEEK_S = 7 * 86_400.0


@dataclass(frozen=True)
class Fault:
    """A planned fault that grew while cars were scored, with its first alert; times are s since 1970."""

    car_id: str
    kind: str
    component: str
    onset_s: float
    failed_s: float
    repaired_s: float
    found_s: float | None = None  # when the first alert on it was raised
    hypothesis: str = ""  # the component that this alert named

    @property
    def lead_s(self) -> float | None:
        """From the first alert to the failure; negative where the failure came first."""
        return None if self.found_s is None else self.failed_s - self.found_s


@dataclass(frozen=True)
class Scorecard:
    """The faults and the alerts between two moments."""

    from_s: float  # s since 1970
    to_s: float  # s since 1970
    cars: int
    faults: list[Fault] = field(default_factory=list)
    false_alarms: list[JudgedAlert] = field(default_factory=list)
    healthy_s: float = 0.0  # seconds of driving without a fault after learning, all cars together
    time_lapse: float = 1.0  # seconds of driving in a second of the run

    def grown(self, fault: Fault, share: float = 0.5) -> bool:
        """Whether a fault had grown to at least this share of the time from onset to failure."""
        return self.to_s >= fault.onset_s + share * (fault.failed_s - fault.onset_s)

    def row(self, faults: Sequence[Fault]) -> dict[str, Any]:
        """Counts over some of the faults: present, half grown, failed, found, and found before failure."""
        failed = [fault for fault in faults if fault.failed_s <= self.to_s]
        leads = [fault.lead_s for fault in failed if fault.lead_s is not None and fault.lead_s >= 0]
        alerted = [fault for fault in faults if fault.found_s is not None]
        return {
            "present": len(faults),
            "half_grown": sum(map(self.grown, faults)),
            "failed": len(failed),
            "found": len(alerted),
            "half_grown_found": sum(self.grown(fault) for fault in alerted),
            "foreseen": len(leads),
            "hypothesis_right": sum(fault.hypothesis == fault.component for fault in alerted),
            "median_lead_s": median(leads) if leads else None,
        }

    def rows(self, key: Callable[[Fault], str]) -> dict[str, dict[str, Any]]:
        """The counts of the faults grouped by `key`, in its order."""
        groups: dict[str, list[Fault]] = defaultdict(list)
        for fault in self.faults:
            groups[key(fault)].append(fault)
        return {name: self.row(faults) for name, faults in sorted(groups.items())}

    def false_alarms_per_car_week(self) -> float | None:
        """False alarms per car-week of driving without a fault; None where nothing was driven."""
        return len(self.false_alarms) / (self.healthy_s / _WEEK_S) if self.healthy_s > 0 else None

    def as_dict(self) -> dict[str, Any]:
        """The content for the JSON file."""
        every = self.row(self.faults)
        per_week = self.false_alarms_per_car_week()
        return {
            "rule": "first alert between onset and repair; foreseen: before the failure",
            "seconds": round(self.to_s - self.from_s, 1),
            "cars": self.cars,
            "time_lapse": self.time_lapse,
            **{
                f"faults_{name}": every[name]
                for name in ("present", "half_grown", "failed", "found", "foreseen")
            },
            **{name: every[name] for name in ("half_grown_found", "hypothesis_right", "median_lead_s")},
            "false_alarms": len(self.false_alarms),
            "false_alarms_per_car_hour": None if per_week is None else per_week / 168,
            "false_alarms_per_car_week": per_week,
            "per_component": self.rows(lambda fault: kind(fault.component)),
            "per_kind": self.rows(lambda fault: fault.kind),
            "faults": [vars(fault) | {"lead_s": fault.lead_s} for fault in self.faults],
        }


def draw_up(
    truth: Iterable[Mapping[str, Any]],
    alerts: Iterable[JudgedAlert],
    *,
    cars: int,
    from_s: float,
    to_s: float,
    learning_s: float = 0.0,
    time_lapse: float = 1.0,
) -> Scorecard:
    """Match alerts with the plan's incidents (times in ms since 1970) between `from_s` and `to_s`.

    While a car is learned, for `learning_s`, no alert can come: that time does not count as healthy.
    """
    by_car: dict[str, list[JudgedAlert]] = defaultdict(list)
    for alert in sorted(alerts, key=lambda alert: alert.told_s):
        by_car[alert.car_id].append(alert)
    planned = (_fault(incident, by_car[incident["car_id"]]) for incident in truth)
    faults = [fault for fault in planned if fault.onset_s < to_s and fault.repaired_s > from_s]
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for fault in faults:
        spans[fault.car_id].append((fault.onset_s, fault.repaired_s + AFTERMATH_S))
    false_alarms = [
        alert
        for alerts_of_car in by_car.values()
        for alert in alerts_of_car
        if not any(start <= alert.opened_s <= end for start, end in spans[alert.car_id])
    ]
    warm_s = from_s + learning_s
    faulty_s = sum(
        max(0.0, min(end, to_s) - max(start, warm_s)) for parts in spans.values() for start, end in parts
    )
    healthy_s = time_lapse * (cars * max(0.0, to_s - warm_s) - faulty_s)
    return Scorecard(from_s, to_s, cars, faults, false_alarms, healthy_s, time_lapse)


def _fault(incident: Mapping[str, Any], alerts: Sequence[JudgedAlert]) -> Fault:
    """The fault with the first of its car's alerts that opened while it was there; `alerts` are in order."""
    onset_s, failed_s, repaired_s = (
        incident[f"{name}_at"] / 1000 for name in ("onset", "failed", "repaired")
    )
    first = next((alert for alert in alerts if onset_s <= alert.opened_s <= repaired_s), None)
    alerted = (first.told_s, first.component) if first else ()
    return Fault(
        incident["car_id"], incident["kind"], incident["component"], onset_s, failed_s, repaired_s, *alerted
    )
