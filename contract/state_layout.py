"""The layout of a car's state, as far as other code than the graph must know it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Columns = tuple[int, int]

WIDTH_MAX = 64  # columns: 256 bytes per car
SEEN = 0  # the column that counts a car's samples, up to `learning_samples`
_HANDOVER = 0.5  # share of the learning period that a hand-over takes
_CALMER = 0.5  # of an older model's variance: less is no chance


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
    # How restless the car was in its learning period, one column; None in old manifests.
    variance: Columns | None = None
    # From this variance on a car is of a kind that no training car is: its averages are not judged.
    strange_variance: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.width <= WIDTH_MAX or self.learning_samples < 1:
            raise ValueError(
                f"a state has 1 to {WIDTH_MAX} columns, not {self.width}, "
                f"and learns from 1 sample at least, not {self.learning_samples}"
            )
        for first, following in (self.baseline, self.deviation, self.variance or self.baseline):
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

    def strange(self, state: Floats) -> Mask:
        """(n,) whether each car of a state (n, width) has been learned and is of a kind that is not judged.

        False for all where the manifest is from before 0.3 and does not say.
        """
        calm = self.calm(state)
        return np.zeros(len(state), np.bool_) if calm is None else self.warm(state) & ~calm

    def judged(self, state: Floats) -> Mask:
        """(n,) whether each car of a state (n, width) has been learned and is not strange."""
        warm, calm = self.warm(state), self.calm(state)
        return warm if calm is None else warm & calm

    def calm(self, state: Floats) -> Mask | None:
        """(n,) whether each car of a state (n, width) is judged as soon as it has been learned; None: all."""
        if self.variance is None or self.strange_variance is None:
            return None
        calm: Mask = state[:, self.variance[0]] < self.strange_variance
        return calm

    @property
    def handover_samples(self) -> int:
        """Samples after which a car is handed over to this model by an older one with the same units.

        Both saw the same samples, so what differs between them shows sooner than a baseline does.
        """
        return max(1, round(_HANDOVER * self.learning_samples))

    def watch(self, state: Floats, old: "StateLayout", before: Floats, after: Floats) -> None:
        """Take one more deviation from an older model's baseline into the running mean, in place.

        state (n, width) after a sample of n cars; before and after (n, old width) the older model's states
        around the same sample. The mean stands in the columns of the deviation, which the graph leaves alone
        while it learns a car.
        """
        deviation = slice(*old.deviation)
        mean, seen = state[:, slice(*self.deviation)], np.maximum(state[:, SEEN : SEEN + 1], 1)
        new = np.flatnonzero(mean[:, 0] == 0)
        new = new[~mean[new].any(axis=1)]
        step = after[:, deviation] - mean
        step *= 1 / seen
        mean += step
        if len(new):  # see `compared`; a former release kept no mean, so it may begin late
            late = before[new, deviation] * ((old.memory_samples - 1) / seen[new])
            mean[new] = after[new, deviation] - late

    def compared(self, state: Floats, old: "StateLayout", old_state: Floats) -> tuple[Floats, Floats]:
        """(drift (n, J), difference (n, J)), both means over the samples watched so far.

        Drift: the older model's residual minus its baseline. Difference: the residual of this model minus
        that of the older one. An average over `memory_samples` lags behind what it averages: what it knew
        before is subtracted where the running mean begins, and what it has not yet taken in is added here.
        """
        late = np.float32(old.memory_samples - 1) / np.maximum(state[:, SEEN : SEEN + 1], 1)
        drift: Floats = np.add(
            state[:, slice(*self.deviation)], old_state[:, slice(*old.deviation)] * late, dtype=np.float32
        )
        return drift, state[:, slice(*self.baseline)] - drift - old_state[:, slice(*old.baseline)]

    def inherited(
        self, state: Floats, old: "StateLayout", old_state: Floats, *, difference: Floats, normal: Floats
    ) -> Floats:
        """The states (n, width) with which this model scores on n cars that an older model scored.

        The baseline is the older model's plus the difference between the models, so that neither a drift nor
        the noise of the time of learning counts as normal; the deviation goes on from the older model's.
        difference and normal (n, J): the difference as in `compared`, and what of the drift is normal from
        now on. A car that was watched for less than `handover_samples` gets as much less of both.
        """
        state = state.copy()
        baseline, deviation = state[:, slice(*self.baseline)], state[:, slice(*self.deviation)]
        known = np.minimum(state[:, SEEN : SEEN + 1] / self.handover_samples, 1) * (baseline != 0)
        baseline[:] = old_state[:, slice(*old.baseline)] + known * (difference + normal)
        deviation[:] = old_state[:, slice(*old.deviation)] - known * normal
        if self.variance and old.variance:
            # A fault that grew meanwhile made the car restless; a model that knows its kind finds it calm.
            before, now = old_state[:, slice(*old.variance)], state[:, slice(*self.variance)]
            now[:] = np.where(now < _CALMER * before, now, before)
        state[:, SEEN] = self.learning_samples
        return state
