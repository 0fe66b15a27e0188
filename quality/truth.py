"""The truth that no detector sees: which component of which test car failed, and when the fault began."""

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.faults import KINDS, FaultPlan


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
