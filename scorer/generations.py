"""The models at work: until a new model has learned a car, the model before it goes on scoring the car.

Every sample goes through the newest model, and also through the model that scores its car where that is an
older one. Once the newest has learned a car it takes over what the older one knew of it
(docs/decisions/state-handover.md).

The age of a model counts the newer models: 0 is the newest. Each car has the age of the model that scores it.
"""

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats
from scorer import metrics
from scorer.cars import CarTable, Mask
from scorer.index import CarNumbers
from scorer.model import Model

# If a fourth model arrives during a hand-over, the oldest is dropped.
GENERATIONS_MAX = 3

Ages = NDArray[np.int8]


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


class Generations:
    """The states of each model at work, oldest first."""

    def __init__(self, cars: CarTable) -> None:
        self._cars = cars
        self._all: list[ModelStates] = []
        self.age = cars.column(0, np.int8)  # of the model that scores the car; a new car has the newest
        self._handing_over = False  # whether an older model scores any car
        self._thresholds = np.ones(1, np.float32)  # by age

    def __len__(self) -> int:
        return len(self._all)

    @property
    def newest(self) -> ModelStates:
        """The states of the newest model, which scores every car that it has learned."""
        return self._all[-1]

    @property
    def versions(self) -> dict[int, ModelStates]:
        """The states of all models at work, by model version."""
        return {states.version: states for states in self._all}

    @property
    def stateful(self) -> bool:
        """Whether any model at work has states."""
        return self._handing_over or self.newest.layout is not None

    def add(self, model: Model) -> None:
        """Make a model the newest one. A model that is at work already keeps its states."""
        count = np.bincount(self.age.values[: len(self._cars)], minlength=len(self._all))
        serving = [states for age, states in enumerate(reversed(self._all)) if count[age]]
        newest = self.versions.get(model.manifest.version) or ModelStates(model, self._cars)
        if newest in self._all[:-1]:
            newest.come_back()
        newest.model = model
        before = [states for states in self._all if states is not newest]
        # The model just replaced may have to come back; older ones are kept only while they score a car.
        kept = [states for states in before if states is before[-1] or states in serving]
        self._arrange([*kept, newest])
        if newest.layout is None:  # nothing to learn, so it takes over all cars at once
            self.age.values[: len(self._cars)] = 0
        self._update_handing_over()

    def add_older(self, model: Model) -> None:
        """Add a model that scored cars whose states were read back; it goes before the newer ones."""
        older = ModelStates(model, self._cars)
        index = sum(states.version < older.version for states in self._all[:-1])
        self._arrange([*self._all[:index], older, *self._all[index:]])

    def step(
        self, cars: CarNumbers, signals: Floats, moves: bool = True
    ) -> tuple[Floats, Floats, Ages | None]:
        """(score (n,), contribution (n, signals), ages (n,)) of one sample each of n different cars.

        The ages are those of the models that scored; None: the newest scored all. With `moves` the states
        are replaced by those after the sample.
        """
        score, contribution = self.newest.step(cars, signals, moves)
        if not self._handing_over:
            return score, contribution, None
        ages = self.age.values[cars]
        for age in range(1, len(self._all)):
            rows = np.flatnonzero(ages == age)
            if len(rows):
                old = self.by_age(age)
                score[rows], contribution[rows] = old.step(cars[rows], signals[rows], moves)
                if moves:
                    self._hand_over(cars[rows], old)
        return score, contribution, ages

    def by_age(self, age: int) -> ModelStates:
        """The states of the model of this age."""
        return self._all[-1 - age]

    def thresholds(self, ages: Ages | None) -> NDArray[np.float32] | np.float32:
        """The threshold of each score that `step` returned with these ages."""
        return self._thresholds[0 if ages is None else ages]

    def scored_by(self, car: int) -> ModelStates:
        """The states of the model that scores the car."""
        return self.by_age(int(self.age.values[car]))

    def serve(self, cars: CarNumbers, states: ModelStates) -> None:
        """Let this model score these cars."""
        self.age.values[cars] = len(self._all) - 1 - self._all.index(states)
        self._update_handing_over()

    def counts(self) -> tuple[int, int]:
        """(cars that the newest model has not learned, cars that an older model scores)."""
        self._update_handing_over()
        ages = self.age.values[: len(self._cars)]
        return int((~self.newest.all_warm()).sum()), int((ages > 0).sum())

    def _update_handing_over(self) -> None:
        self._handing_over = bool(self.age.values[: len(self._cars)].any())

    def _hand_over(self, cars: CarNumbers, old: ModelStates) -> None:
        """Hand over to the newest model the cars that it has learned, or knows as well as the old one."""
        new, was_warm = self.newest, old.warm(cars)
        learned = new.warm(cars)
        if new.layout is not None and old.layout is not None and not was_warm.all():
            learned |= ~was_warm & (new.column.values[cars, 0] >= old.column.values[cars, 0])
        if learned.any():
            new.inherit(cars[learned & was_warm], old)
            self.age.values[cars[learned]] = 0

    def _arrange(self, arranged: list[ModelStates]) -> None:
        """Keep these models, at most GENERATIONS_MAX; the oldest left takes the cars of dropped ones."""
        arranged = arranged[-GENERATIONS_MAX:]
        new_ages = np.zeros(max(len(self._all), 1), np.int8)
        for age, states in enumerate(reversed(self._all)):
            index = arranged.index(states) if states in arranged else 0
            new_ages[age] = len(arranged) - 1 - index
        known = slice(0, len(self._cars))
        self.age.values[known] = new_ages[self.age.values[known]]
        for states in self._all:
            if states not in arranged:
                states.drop()
        self._all = arranged
        self._thresholds = np.array([states.model.threshold for states in reversed(arranged)], np.float32)
        self._update_handing_over()
