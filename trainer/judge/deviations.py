"""What to judge by where no workshop has reported enough: deviations of physical size, put into healthy data.

Each grows from nothing to its full size and stays, in a held-out car's rows. The sizes stand in
signals.toml: those at which a driver or the law would call the part faulty, not those that are easy to see.
They move single signals only, so they judge less than a real fault would; they are the same for every
detector.
"""

import numpy as np
from numpy.typing import NDArray

from contract.signals import Deviation
from contract.telemetry import Floats
from trainer.model.domain import Domain
from trainer.model.replay import ranks, runs
from trainer.model.robust import CarNumbers

# It grows for this share of the time that a car is judged, and stays at its full size.
_GROWS_FOR = 0.5
# Of a signal for which nobody has said what is faulty: so many of its spreads among the healthy cars.
_SPREADS = 2.0


def of(domain: Domain, healthy: Floats) -> tuple[Deviation, ...]:
    """Those of the domain; where it has none, each judged signal moved by two spreads of healthy (n, K)."""
    if domain.deviations:
        return domain.deviations
    spread = np.nanstd(healthy, axis=0)
    judged = np.flatnonzero(domain.judged).tolist()
    names = [domain.signals[place] for place in judged]
    return tuple(
        Deviation(
            name=f"{name} {_SPREADS:g} spreads more", signals=(name,), offset=_SPREADS * float(spread[place])
        )
        for name, place in zip(names, judged, strict=True)
    )


def growing(
    domain: Domain, signals: Floats, car: CarNumbers, deviation: Deviation, *, begins: int, seed: int
) -> Floats:
    """`signals` (n, K), by car and time, with the deviation from a car's row number `begins` on."""
    starts, lengths = runs(car)
    span = np.maximum(_GROWS_FOR * (lengths - begins), 1)
    grown: NDArray[np.float64] = np.maximum(ranks(car) + 1 - begins, 0) / np.repeat(span, lengths)
    size = np.minimum(grown, 1)
    columns = np.array([domain.place(name) for name in deviation.signals])
    chosen = np.random.default_rng(seed).choice(columns, len(starts))
    column = np.repeat(chosen, lengths)
    moved = signals.copy()
    rows = np.arange(len(car))
    moved[rows, column] *= (1 + (deviation.factor - 1) * size).astype(np.float32)
    moved[rows, column] += (deviation.offset * size).astype(np.float32)
    return moved
