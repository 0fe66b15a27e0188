"""The layout of a car's state, as far as other code than the graph must know it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Columns = tuple[int, int]

WIDTH_MAX = 64  # columns: 256 bytes per car
SEEN = 0  # the column that counts a car's samples, up to `learning_samples`


@dataclass(frozen=True, kw_only=True)
class StateLayout:
    """The columns of a state (n, width) of n cars, float32; a new car's state is all zeros.

    Raises ValueError if columns are out of range, or baseline and deviation differ in size.
    """

    width: int
    learning_samples: int  # samples after which the baseline is frozen
    memory_samples: float  # time constant of the deviation in samples
    sample_interval_s: float  # median time between two samples of a car
    baseline: Columns  # (first, next): the mean residual of the learning period
    deviation: Columns  # (first, next): the moving average of residual minus baseline
    units: str  # fingerprint of the units of both; models with the same one can inherit them

    def __post_init__(self) -> None:
        if not 1 <= self.width <= WIDTH_MAX or self.learning_samples < 1:
            raise ValueError(
                f"a state has 1 to {WIDTH_MAX} columns, not {self.width}, "
                f"and learns from 1 sample at least, not {self.learning_samples}"
            )
        for first, following in (self.baseline, self.deviation):
            if not SEEN < first <= following <= self.width:
                raise ValueError(
                    f"columns {first} to {following} are out of range for a width of {self.width}"
                )
        if np.diff(self.baseline) != np.diff(self.deviation):
            raise ValueError(f"baseline {self.baseline} and deviation {self.deviation} differ in size")

    def warm(self, state: Floats) -> Mask:
        """(n,) whether each car of a state (n, width) has been learned."""
        warm: Mask = state[:, SEEN] >= self.learning_samples
        return warm

    def inherited(self, state: Floats, old: "StateLayout", old_state: Floats) -> Floats:
        """The states (n, width) with what an older model knew of the same cars, whose states are `old_state`.

        The new baselines were learned when the cars may have drifted already. The drift that the old model
        knew is moved from the baseline into the deviation. Unchanged if the units differ.
        """
        if self.units != old.units:
            return state
        drift = old_state[:, slice(*old.deviation)]
        state = state.copy()
        state[:, slice(*self.baseline)] -= drift
        state[:, slice(*self.deviation)] = drift
        return state
