"""The state that one model keeps of every car: gathered, given to the graph, and scattered back."""

import numpy as np

from contract.telemetry import Floats
from scorer import metrics
from scorer.cars import CarTable, Mask
from scorer.index import CarNumbers
from scorer.model import Model


class ModelStates:
    """The states of all cars for one model, in one array (cars, width); a new car's is all zeros."""

    def __init__(self, model: Model, cars: CarTable) -> None:
        self._cars = cars
        self.model = model
        self.layout = model.manifest.state
        self.column = cars.column(0, np.float32, model.width)
        # If this model was replaced and has come back: the cars that it had learned before.
        self._learned_before = cars.column(False, np.bool_)

    @property
    def version(self) -> int:
        """The version of the model."""
        return self.model.manifest.version

    def step(self, cars: CarNumbers, signals: Floats, moves: bool = True) -> tuple[Floats, Floats]:
        """score (n,) and contribution (n, signals) of one sample each of n different cars.

        With `moves` their states are replaced by the states after the sample. A state that is not finite
        would stay so for ever, so it is set to zero and the car is learned anew.
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

    def warm(self, cars: CarNumbers | slice) -> Mask:
        """Whether the model has learned each car; one without state has nothing to learn."""
        states = self.column.values[cars]
        return np.ones(len(states), np.bool_) if self.layout is None else self.layout.warm(states)

    def all_warm(self) -> Mask:
        """Whether the model has learned each car, for all cars (without a copy of their states)."""
        return self.warm(slice(len(self._cars)))

    def come_back(self) -> None:
        """Note that this model was replaced and is the newest again."""
        self._learned_before.values[: len(self._cars)] = self.all_warm()

    def drop(self) -> None:
        """Free the arrays."""
        self._cars.drop(self.column)
        self._cars.drop(self._learned_before)

    def inherit(self, cars: CarNumbers, old: "ModelStates") -> None:
        """Take over an older model's knowledge of these cars, which both models have learned."""
        if self.layout is None or old.layout is None or self.layout.units != old.layout.units:
            return
        mine, theirs = self.column.values[cars], old.column.values[cars]
        inherited = self.layout.inherited(mine, old.layout, theirs)
        # A baseline that was learned before the model was replaced contains nothing of the drift that the
        # other model saw, so it stays; only the memory has missed the time in between.
        before, baseline = self._learned_before.values[cars], slice(*self.layout.baseline)
        inherited[before, baseline] = mine[before, baseline]
        self.column.values[cars] = inherited
        self._learned_before.values[cars] = False
