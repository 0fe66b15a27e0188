"""What one model remembers of every car: gathered, given to the graph with a sample, and scattered back."""

import numpy as np

from contract.telemetry import Floats
from scorer import metrics
from scorer.cars import Cars, Mask
from scorer.index import Places
from scorer.model import Model


class States:
    """The states of all cars for one model, in one array; all zeros is a new car."""

    def __init__(self, model: Model, cars: Cars) -> None:
        self._cars = cars
        self.model = model
        self.layout = model.manifest.state
        self.column = cars.column(0, np.float32, model.width)
        # Where this model was replaced and is back: the cars that it had learned before.
        self._learned_before = cars.column(False, np.bool_)

    @property
    def version(self) -> int:
        """Of the model."""
        return self.model.manifest.version

    def step(self, cars: Places, signals: Floats, moves: bool = True) -> tuple[Floats, Floats]:
        """score (n,) and contribution (n, 18) of one sample each of n different cars.

        Their states move on with it, unless told otherwise. A state that is not finite would stay so for
        ever: such a car is learned anew.
        """
        states = self.column.values
        score, contribution, after = self.model.step(signals, states.take(cars, axis=0))
        if moves and self.layout is not None:
            finite = np.isfinite(after)
            if not finite.all():
                broken = ~finite.all(axis=1)
                metrics.states_refused.labels("not_finite").inc(int(broken.sum()))
                after[broken] = 0
            states[cars] = after
        return score, contribution

    def warm(self, cars: Places) -> Mask:
        """Whether each of n cars has been learned; a model without state has nothing to learn."""
        if self.layout is None:
            return np.ones(len(cars), np.bool_)
        return self.layout.warm(self.column.values[cars])

    def all_warm(self) -> Mask:
        """The same of all cars, without a copy of their states."""
        if self.layout is None:
            return np.ones(len(self._cars), np.bool_)
        return self.layout.warm(self.column.values[: len(self._cars)])

    def come_back(self) -> None:
        """This model was replaced, and is the newest again."""
        self._learned_before.values[: len(self._cars)] = self.all_warm()

    def drop(self) -> None:
        """Nobody needs these states any more."""
        self._cars.drop(self.column)
        self._cars.drop(self._learned_before)

    def inherit(self, cars: Places, old: "States") -> None:
        """Take over from an older model what it knows of these cars, which are warm in both."""
        if self.layout is None or old.layout is None or self.layout.units != old.layout.units:
            return
        mine, theirs = self.column.values[cars], old.column.values[cars]
        inherited = self.layout.inherited(mine, old.layout, theirs)
        # A baseline that is older than the other's holds nothing of the drift: only the memory has a gap.
        before, baseline = self._learned_before.values[cars], slice(*self.layout.baseline)
        inherited[before, baseline] = mine[before, baseline]
        self.column.values[cars] = inherited
        self._learned_before.values[cars] = False
