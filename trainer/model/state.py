"""What a car's state holds, column by column, and for how long: what makes a car its own measure."""

import hashlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from contract.state_layout import SEEN, WIDTH_MAX, Columns, StateLayout
from trainer.model.domain import Domain


@dataclass(frozen=True)
class Memory:
    """How many samples a car is learned for, and over how many its deviation is averaged.

    Raises ValueError: both must be at least 1, and the memory no longer than the learning.
    """

    learning_samples: int
    memory_samples: float

    def __post_init__(self) -> None:
        if not 1 <= self.memory_samples <= self.learning_samples:
            raise ValueError(
                f"a memory of {self.memory_samples:g} samples must be at least 1 and at most the "
                f"{self.learning_samples} that a car is learned for"
            )


@dataclass(frozen=True, kw_only=True)
class StateColumns:
    """(first, next) columns of a state; `seen` is the number of samples, held when the car is learned.

    `baseline` and `deviation`: of the judged signals, in resolutions. `point`: the operating point as it was
    lately, standardised. `last`: of the restless signals, standardised; `repeats`: which share of the samples
    repeated it lately. `identity`: of what is neither judged nor a condition, like a firmware: where it
    changes, the car is learned anew. `unrest`: its mean square from its baseline meanwhile.
    """

    baseline: Columns
    deviation: Columns
    point: Columns
    last: Columns
    repeats: Columns
    identity: Columns
    unrest: Columns
    width: int
    seen: Columns = (SEEN, SEEN + 1)


def state_columns(domain: Domain) -> StateColumns:
    """Raises ValueError where so many signals need more than a car's 64 columns."""
    judged, point = int(domain.judged.sum()), int(domain.conditions.sum())
    restless, identity = int(domain.restless.sum()), len(identities(domain))
    ends = np.cumsum([SEEN + 1, judged, judged, point, restless, restless, identity, 1]).tolist()
    places = list(pairwise(ends))
    width = ends[-1] + (ends[-1] == domain.count)  # tensors are told apart by their widths
    if width > WIDTH_MAX:
        raise ValueError(
            f"{judged} judged signals, {point} conditions and {restless} restless signals need a state of "
            f"{width} columns; a car has {WIDTH_MAX}: judge fewer signals, or call fewer restless"
        )
    names = ("baseline", "deviation", "point", "last", "repeats", "identity", "unrest")
    return StateColumns(width=width, **dict(zip(names, places, strict=True)))


def identities(domain: Domain) -> NDArray[np.intp]:
    """Places of the signals that say what a car is: neither judged nor a condition."""
    return np.flatnonzero(~domain.judged & ~domain.conditions[: domain.count])


def state_layout(domain: Domain, memory: Memory, interval_s: float) -> StateLayout:
    """For the manifest. `interval_s`: between two samples of a car, in the median."""
    columns = state_columns(domain)
    return StateLayout(
        width=columns.width,
        learning_samples=memory.learning_samples,
        memory_samples=memory.memory_samples,
        sample_interval_s=interval_s,
        baseline=columns.baseline,
        deviation=columns.deviation,
        units=units(domain),
    )


def units(domain: Domain) -> str:
    """A fingerprint of what a baseline is measured in: the judged signals' coordinates and resolutions."""
    targets = domain.targets()[domain.judged]
    names = [*domain.signals, *[repr(ratio) for ratio in domain.ratios]]
    said = [(names[place], float(domain.resolution[place])) for place in targets]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]
