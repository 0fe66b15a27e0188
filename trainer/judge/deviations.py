"""Artificial faults to judge by where workshops have reported too few: deviations put into healthy telemetry.

Each grows from nothing to its full size and stays. The sizes stand in signals.toml: those at which a driver
or the law would call the part faulty, not those that are easy to see. They move single signals, so they say
less than real faults would; they are the same for every detector.
"""

import numpy as np
from numpy.typing import NDArray

from contract.signals import Deviation
from contract.telemetry import Floats
from trainer.model.domain import Domain
from trainer.model.replay import ranks, runs
from trainer.model.robust import CarNumbers

_GROWTH_SHARE = 0.5  # of the time that a car is judged; then the deviation has its full size
_SPREADS = 2.0  # for a signal without a given size: so many standard deviations among the healthy cars


def artificial_faults(domain: Domain, healthy: Floats) -> tuple[Deviation, ...]:
    """The domain's, or, if it has none, each judged signal moved by two spreads of healthy rows (n, K)."""
    if domain.deviations:
        return domain.deviations
    spread = np.nanstd(healthy, axis=0)
    return tuple(
        Deviation(
            name=f"{domain.signals[signal]} {_SPREADS:g} spreads more",
            signals=(domain.signals[signal],),
            offset=_SPREADS * float(spread[signal]),
        )
        for signal in np.flatnonzero(domain.judged).tolist()
    )


def grown(
    domain: Domain, signals: Floats, car: CarNumbers, deviation: Deviation, *, begins: int, seed: int
) -> Floats:
    """`signals` (n, K), by car and time, with the deviation from a car's row number `begins` on."""
    starts, lengths = runs(car)
    span = np.maximum(_GROWTH_SHARE * (lengths - begins), 1)
    growth: NDArray[np.float64] = np.maximum(ranks(car) + 1 - begins, 0) / np.repeat(span, lengths)
    size = np.minimum(growth, 1)
    columns = np.array([domain.index(name) for name in deviation.signals])
    column = np.repeat(np.random.default_rng(seed).choice(columns, len(starts)), lengths)
    moved, rows = signals.copy(), np.arange(len(car))
    moved[rows, column] *= (1 + (deviation.factor - 1) * size).astype(np.float32)
    moved[rows, column] += (deviation.offset * size).astype(np.float32)
    return moved
