"""What to judge by where no workshop has reported enough: deviations of physical size, put into healthy data.

Each grows from nothing to its full size over a held-out car's samples. The sizes are those at which a driver
or the law would call the part faulty, not those that are easy to see. They move single signals only, so they
judge less than a real fault would; they are the same for every detector.
"""

import numpy as np
from numpy.typing import NDArray

from contract.signals import Deviation
from contract.telemetry import Floats
from trainer.domain import Domain
from trainer.robust import Cars


def growing(domain: Domain, signals: Floats, car: Cars, deviation: Deviation, seed: int) -> Floats:
    """`signals` (n, K), ordered by car and time, with the deviation growing over each car's samples."""
    numbers, starts, counts = np.unique(car, return_index=True, return_counts=True)
    rank = np.arange(len(car)) - np.repeat(starts, counts)
    size: NDArray[np.float64] = (rank + 1) / np.repeat(counts, counts)
    columns = np.array([domain.place(name) for name in deviation.signals])
    chosen = np.random.default_rng(seed).choice(columns, len(numbers))
    column = np.repeat(chosen, counts)
    moved = signals.copy()
    rows = np.arange(len(car))
    moved[rows, column] *= (1 + (deviation.factor - 1) * size).astype(np.float32)
    moved[rows, column] += (deviation.offset * size).astype(np.float32)
    return moved
