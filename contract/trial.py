"""Which cars take part in the trial of a challenger, and which of them it scores: those of a low place."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contract.car_hash import uniforms
from contract.manifest import Decision

# So many cars say of a model what a larger fleet would say, at a part of the price (docs/decisions/trial.md).
_CARS = 10_000


def taking_part(cars: int) -> float:
    """The share of a fleet of so many cars that takes part in a trial."""
    return min(1.0, _CARS / max(1, cars))


def reach(decision: Decision) -> float:
    """The place below which cars take part: those that the challenger scores are among them."""
    return max(decision.on_trial, decision.share or 0.0)


def places(cars: Sequence[bytes], version: int) -> NDArray[np.float64]:
    """(len(cars),) the places of these cars in the fleet, 0 to below 1; another version gives others.

    The challenger scores the cars below its share.
    """
    return uniforms(cars, b"trial/%d" % version)
