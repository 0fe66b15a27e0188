"""What the graph keeps of a car between two samples, and over how many samples it averages."""

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.state_layout import SEEN, WIDTH_MAX, StateLayout
from trainer.model.domain import Domain


@dataclass(frozen=True)
class Window:
    """How long cars are watched and averaged. Raises ValueError unless 1 <= memory <= learning."""

    learning_samples: int  # a car is watched for so many samples before it is judged
    memory_samples: float  # time constant of its moving averages, in samples

    def __post_init__(self) -> None:
        if not 1 <= self.memory_samples <= self.learning_samples:
            raise ValueError(
                f"a memory of {self.memory_samples:g} samples must be at least 1 and at most the "
                f"{self.learning_samples} that a car is learned for"
            )


class CarState(NamedTuple):
    """The parts of a car's state in the order of their columns, either their (first, next) columns or values.

    A new car's state is all zeros. Values of J judged, C condition, R restless and I identity signals.
    """

    count: Any  # (1) samples seen, held when the learning period is over
    baseline: Any  # (J) mean residual of the learning period, in resolutions; frozen afterwards
    deviation: Any  # (J) moving average of residual minus baseline since then
    point: Any  # (C) moving average of the operating point, standardised
    last: Any  # (R) the last value of each restless signal, standardised
    repeat_rate: Any  # (R) moving average of "the value is the last one again"
    identity: Any  # (I) what the car is, like its firmware: where it changes, the car is learned anew
    variance: Any  # (1) mean square residual of the learning period, in spreads within a car


def state_columns(domain: Domain) -> tuple[CarState, int]:
    """((first, next) columns of each part, width). Raises ValueError where a car's 64 columns do not do."""
    judged, point = int(domain.judged.sum()), int(domain.conditions.sum())
    restless, identity = int(domain.restless.sum()), len(identities(domain))
    sizes = CarState(1, judged, judged, point, restless, restless, identity, 1)
    ends = np.cumsum([SEEN, *sizes]).tolist()
    width = ends[-1] + (ends[-1] == domain.count)  # a tensor is recognised by its width: no two may be equal
    if width > WIDTH_MAX:
        raise ValueError(
            f"{judged} judged signals, {point} conditions and {restless} restless signals need a state of "
            f"{width} columns; a car has {WIDTH_MAX}: judge fewer signals, or call fewer restless"
        )
    return CarState(*pairwise(ends)), width


def identities(domain: Domain) -> NDArray[np.intp]:
    """Indices of the signals that say what a car is: neither judged nor a condition."""
    return np.flatnonzero(~domain.judged & ~domain.conditions[: domain.count])


def state_layout(
    domain: Domain, window: Window, interval_s: float, strange_variance: float | None = None
) -> StateLayout:
    """What the manifest says of the state. `interval_s`: median time between two samples of a car."""
    columns, width = state_columns(domain)
    return StateLayout(
        width=width,
        learning_samples=window.learning_samples,
        memory_samples=window.memory_samples,
        sample_interval_s=interval_s,
        baseline=columns.baseline,
        deviation=columns.deviation,
        units=units(domain),
        variance=columns.variance,
        strange_variance=strange_variance,
    )


def units(domain: Domain) -> str:
    """A fingerprint of what baselines are measured in: the judged signals' coordinates and resolutions."""
    targets = domain.targets()[domain.judged]
    names = [*domain.signals, *[repr(ratio) for ratio in domain.ratios]]
    text = repr([(names[target], float(domain.resolution[target])) for target in targets])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
