"""What was hidden from every detector: which component of which test car failed, and when it began."""

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.faults import KINDS, FaultPlan


@dataclass(frozen=True)
class Failure:
    """A fault that began after the learning period. Times in seconds of the car's telemetry; `car` from 0."""

    car: int
    kind: str
    component: str
    onset_s: float
    failed_s: float
    repaired_s: float

    @property
    def growth_h(self) -> float:
        """From onset to failure."""
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


def counted(found: Sequence[Failure], *, from_s: float, to_s: float) -> list[Failure]:
    """Those that a detector can be asked about: they begin after from_s and fail before to_s."""
    return [failure for failure in found if failure.onset_s >= from_s and failure.failed_s <= to_s]
