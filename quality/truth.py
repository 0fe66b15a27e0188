"""The truth that no detector sees: which component of which test car failed, and when the fault began."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulator.chance import F8
from simulator.faults import HOUR_S, KINDS, FaultPlan


@dataclass(frozen=True)
class Failure:
    """A fault that grew to a failure; times are seconds of the car's telemetry."""

    car: int  # within its part, from 0
    kind: str
    component: str
    onset_s: float
    failed_s: float
    repaired_s: float

    @property
    def growth_h(self) -> float:
        """Hours from onset to failure."""
        return (self.failed_s - self.onset_s) / 3600


def failures(plan: FaultPlan, first: int) -> list[Failure]:
    """All incidents of the plan of the cars first, first+1, …, by car and time."""
    return [
        Failure(
            car=int(plan.car[i]) - first,
            kind=KINDS[plan.kind[i]].name,
            component=plan.component(i),
            onset_s=float(plan.onset_s[i]),
            failed_s=float(plan.failed_s[i]),
            repaired_s=float(plan.repaired_s[i]),
        )
        for i in range(len(plan.car))
    ]


def counted(failures: Sequence[Failure], *, from_s: float, to_s: float) -> list[Failure]:
    """The failures that a detector can foresee: they begin after from_s and fail before to_s."""
    return [failure for failure in failures if failure.onset_s >= from_s and failure.failed_s <= to_s]


def severities(plans: Iterable[FaultPlan]) -> list[dict[str, Any]]:
    """How fast faults grow in these plans: a row per kind and effect, for a table or JSON.

    Hours of wear from onset to failure and mean growth per hour (in the unit), each as {p10, p50, p90}.
    """
    hours: dict[tuple[str, float, str], list[float]] = {}
    for plan in plans:
        wear_h = (plan.failed_s - plan.onset_s) * (plan.wear.ageing / HOUR_S)
        for incident, hours_to_failure in enumerate(wear_h.tolist()):
            kind = KINDS[plan.kind[incident]]
            key = (kind.name, *kind.components[plan.component(incident)])
            hours.setdefault(key, []).append(hours_to_failure)
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
