"""What stands where in a car's state, as far as anybody but the graph has to know."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Columns = tuple[int, int]

# 256 bytes a car.
WIDTH_MAX = 64
# Column of the samples that a car has been seen for, counted up to `learning_samples` and then held.
SEEN = 0


@dataclass(frozen=True, kw_only=True)
class StateLayout:
    """The state (n, width) of n cars, float32; all zeros is a new car.

    `baseline` and `deviation` are ranges of columns, (first, next): the mean residual of the learning period,
    frozen afterwards, and the slow memory of residual minus baseline. Both are in the units that `units`
    fingerprints, and so mean the same in every model of the same units. `learning_samples` and
    `memory_samples` count samples of a car, which come `sample_interval_s` apart in the median.

    Raises ValueError for columns that are not there, or of which there are not as many on both sides.
    """

    width: int
    learning_samples: int
    memory_samples: float
    sample_interval_s: float
    baseline: Columns
    deviation: Columns
    units: str

    def __post_init__(self) -> None:
        if not 1 <= self.width <= WIDTH_MAX or self.learning_samples < 1:
            raise ValueError(
                f"a state has 1 to {WIDTH_MAX} columns, not {self.width}, "
                f"and learns from 1 sample at least, not {self.learning_samples}"
            )
        for first, following in (self.baseline, self.deviation):
            if not SEEN < first <= following <= self.width:
                raise ValueError(f"columns {first} to {following} of a state with {self.width}")
        if np.diff(self.baseline) != np.diff(self.deviation):
            raise ValueError(f"baseline {self.baseline} and deviation {self.deviation} differ in size")

    def warm(self, state: Floats) -> Mask:
        """Whether each car of (n, width) has been learned; (n,)."""
        warm: Mask = state[:, SEEN] >= self.learning_samples
        return warm

    def inherited(self, state: Floats, old: "StateLayout", old_state: Floats) -> Floats:
        """The states (n, width) of cars that another model, whose states are given too, has known for longer.

        Their baselines were learned while the cars may have drifted already: what the old model knew of that
        drift is taken out of the baseline and put into the deviation. Unchanged where the units differ.
        """
        if self.units != old.units:
            return state
        drift = old_state[:, slice(*old.deviation)]
        state = state.copy()
        state[:, slice(*self.baseline)] -= drift
        state[:, slice(*self.deviation)] = drift
        return state
