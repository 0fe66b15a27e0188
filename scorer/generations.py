"""The models at work: until a new model has learned a car, the model before it goes on scoring the car.

Every sample of a car goes through the model that scores it and, during a hand-over, through the one that
learns it. A car finishes with the model that it began to learn, even if newer ones arrive meanwhile; then it
begins with the newest (docs/decisions/state-handover.md).

The age of a model counts the newer models: 0 is the newest.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats
from scorer.cars import CarTable, Rows
from scorer.evidence import Crossings
from scorer.index import CarNumbers
from scorer.model import Model
from scorer.model_states import ModelStates, Pupils

# One that scores slow cars, one that these learn, the model before the newest, and the newest.
GENERATIONS_MAX = 4

Ages = NDArray[np.int8]


class Part(NamedTuple):
    """Some of the n samples of a step: those of the cars that one model scored."""

    rows: Rows | slice  # (m,) of the n
    states: ModelStates  # of that model
    before: Floats  # (m, width) the cars' states before the sample
    after: Floats


class Step(NamedTuple):
    """One sample each of n cars, scored."""

    score: Floats  # (n,)
    contribution: Floats  # (n, signals)
    ages: Ages | None  # (n,) of the models that scored; None: the newest scored all
    parts: list[Part]


class Generations:
    """The states of each model at work, oldest first."""

    def __init__(self, cars: CarTable) -> None:
        self._cars = cars
        self._all: list[ModelStates] = []
        self.age = cars.column(0, np.int8)  # of the model that scores the car; a new car has the newest
        self._learner = cars.column(0, np.int8)  # age of the model that learns the car; `age` where none
        self.handing_over = False  # whether an older model scores any car
        self._thresholds = np.ones(1, np.float32)  # by age

    def __len__(self) -> int:
        return len(self._all)

    @property
    def newest(self) -> ModelStates:
        """The states of the newest model."""
        return self._all[-1]

    @property
    def versions(self) -> dict[int, ModelStates]:
        """The states of all models at work, by model version."""
        return {states.version: states for states in self._all}

    @property
    def stateful(self) -> bool:
        """Whether any model at work has states."""
        return self.handing_over or self.newest.layout is not None

    def add(self, model: Model) -> None:
        """Make a model the newest one. A model that is at work already keeps its states."""
        newest = self.versions.get(model.manifest.version) or ModelStates(model, self._cars)
        comes_back = newest in self._all[:-1]
        newest.model = model
        self._make_newest(newest)
        known = slice(0, len(self._cars))
        age, learner = self.age.values[known], self._learner.values[known]
        if newest.layout is None:  # nothing to learn, so it takes over all cars at once
            age[:] = learner[:] = 0
        if comes_back:  # what was learned by the models that it replaces is not wanted
            newest.come_back()
            learner[:] = age
        self._begin(np.flatnonzero((learner == age) & (age > 0)))
        self._update_handing_over()

    def promote(self, states: ModelStates, beside: NDArray[np.int32]) -> None:
        """Make a challenger the newest model, with what it has learned.

        beside (cars,): the version of the model beside which it learns each car, 0 where it has learned it.
        """
        self._make_newest(states)
        known = slice(0, len(self._cars))
        age, learner = self.age.values[known], self._learner.values[known]
        age[beside == 0] = learner[beside == 0] = 0
        free = (learner == age) & (age > 0)  # the others finish with the model that they began to learn
        learner[free] = 0
        at_work = np.array([each.version for each in reversed(self._all)])
        states.begin(np.flatnonzero(free & (beside != at_work[age])))
        self._update_handing_over()

    def _make_newest(self, newest: ModelStates) -> None:
        before = [states for states in self._all if states is not newest]
        # The model just replaced may have to come back; older ones are kept only while they are in use.
        kept = [states for states in before if states is before[-1] or self._in_use(states)]
        if len(kept) >= GENERATIONS_MAX and not self._in_use(kept[-1]):
            kept.pop()
        while len(kept) >= GENERATIONS_MAX:
            self._hand_over_all(kept.pop(0))
        self._arrange([*kept, newest])

    def add_older(self, model: Model) -> None:
        """Add a model that scored or learned cars whose states were read back, before the newer ones.

        At most GENERATIONS_MAX models may be at work.
        """
        older = ModelStates(model, self._cars)
        index = sum(states.version < older.version for states in self._all[:-1])
        self._arrange([*self._all[:index], older, *self._all[index:]])

    def step(self, cars: CarNumbers, signals: Floats, moves: bool = True) -> Step:
        """Score one sample each of n different cars, signals (n, K).

        With `moves` the states are replaced by those after the sample.
        """
        if not self.handing_over:
            score, contribution, before, after = self.newest.step(cars, signals)
            if moves:
                self.newest.column.put(cars, after)
            return Step(score, contribution, None, [Part(slice(None), self.newest, before, after)])
        ages, learners = self.age.values.take(cars), self._learner.values.take(cars)
        pairs = ages * GENERATIONS_MAX + learners
        if len(pairs) and (pairs == pairs[0]).all():
            old, new = map(self.by_age, divmod(int(pairs[0]), GENERATIONS_MAX))
            score, contribution, before, after = self._step_pair(old, new, cars, signals, moves)
            return Step(score, contribution, ages, [Part(slice(None), old, before, after)])
        score, contribution = np.empty(len(cars), np.float32), np.empty_like(signals)
        parts = []
        for pair in np.flatnonzero(np.bincount(pairs)).tolist():
            rows = np.flatnonzero(pairs == pair)
            old, new = map(self.by_age, divmod(pair, GENERATIONS_MAX))
            score[rows], contribution[rows], before, after = self._step_pair(
                old, new, cars.take(rows), signals.take(rows, axis=0), moves
            )
            parts.append(Part(rows, old, before, after))
        return Step(score, contribution, ages, parts)

    def _step_pair(
        self, old: ModelStates, new: ModelStates, cars: CarNumbers, signals: Floats, moves: bool
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """`ModelStates.step` of the model that scores these cars; `new` learns them, or is the same."""
        score, contribution, before, after = old.step(cars, signals)
        if moves:
            old.column.put(cars, after)
            if new is not old:
                *_, learned = new.step(cars, signals)
                ready = new.learn(cars, learned, old, before, after)
                if ready.any():
                    self._hand_over(cars[ready], old, new)
        return score, contribution, before, after

    def by_age(self, age: int) -> ModelStates:
        """The states of the model of this age."""
        return self._all[-1 - age]

    def thresholds(self, ages: Ages | None) -> NDArray[np.float32] | np.float32:
        """The threshold of each score that `step` returned with these ages."""
        return self._thresholds[0 if ages is None else ages]

    def scored_by(self, car: int) -> ModelStates:
        """The states of the model that scores the car."""
        return self.by_age(int(self.age.values[car]))

    def learned_by(self, car: int) -> ModelStates:
        """The states of the model that learns the car, or of the one that scores it where none does."""
        return self.by_age(int(self._learner.values[car]))

    def serve(self, cars: CarNumbers, states: ModelStates) -> None:
        """Let this model score these cars and the newest one learn them."""
        self.age.values[cars] = self._age(states)
        self._learner.values[cars] = 0
        self._update_handing_over()

    def learn(self, cars: CarNumbers, states: ModelStates) -> None:
        """Let this model learn these cars, except those that a model as new scores already."""
        age = self._age(states)
        self._learner.values[cars[self.age.values[cars] > age]] = age

    def count(self, crossings: Crossings) -> None:
        """Count crossings of levels for the models that score the cars."""
        if not self.handing_over:
            self.newest.counts.cross(crossings)
            return
        ages = self.age.values[crossings.cars]
        for age in np.unique(ages).tolist():
            self.by_age(age).counts.cross(crossings.only(ages == age))

    def counts(self) -> tuple[int, int, int]:
        """(cars that the newest model has not learned, cars that an older model scores, cars not judged).

        Those not judged are of a kind that is unknown to the model that scores them.
        """
        self._update_handing_over()
        ages = self.age.values[: len(self._cars)]
        strange = sum(
            int((states.strange(slice(len(self._cars))) & (ages == self._age(states))).sum())
            for states in self._all
        )
        return int((~self.newest.all_warm()).sum()), int((ages > 0).sum()), strange

    def _age(self, states: ModelStates) -> int:
        return len(self._all) - 1 - self._all.index(states)

    def _in_use(self, states: ModelStates) -> bool:
        """Whether any car is scored or learned by the model."""
        age, known = self._age(states), slice(0, len(self._cars))
        return bool((self.age.values[known] == age).any() or (self._learner.values[known] == age).any())

    def _update_handing_over(self) -> None:
        self.handing_over = bool(self.age.values[: len(self._cars)].any())

    def _begin(self, cars: CarNumbers) -> None:
        """Let the newest model learn these cars."""
        self._learner.values[cars] = 0
        self.newest.begin(cars)

    def _hand_over(self, cars: CarNumbers, old: ModelStates, new: ModelStates) -> None:
        """Let the newer model score these cars, and the newest one learn them next."""
        new.take_over(cars, old, lambda: self._pupils(new))
        self.age.values[cars] = self._learner.values[cars] = self._age(new)
        if new is not self.newest:
            self._begin(cars)

    def _hand_over_all(self, old: ModelStates) -> None:
        """Hand over the cars of a model that has to go, with what is known of them by now."""
        known = slice(0, len(self._cars))
        age, learner = self.age.values[known], self._learner.values[known]
        scored = age == self._age(old)
        for younger in np.unique(learner[scored]).tolist():
            self._hand_over(np.flatnonzero(scored & (learner == younger)), old, self.by_age(younger))

    def _pupils(self, new: ModelStates) -> Pupils:
        """The cars that this model learns."""
        known = slice(0, len(self._cars))
        ages, learned = self.age.values[known], self._learner.values[known] == self._age(new)
        learned &= ages != self._age(new)
        return [
            (np.flatnonzero(learned & (ages == age)), self.by_age(age))
            for age in np.flatnonzero(np.bincount(ages[learned], minlength=1)).tolist()
        ]

    def _arrange(self, arranged: list[ModelStates]) -> None:
        """Keep these models; no car may be left to another one."""
        new_ages = np.zeros(GENERATIONS_MAX + 1, np.int8)
        for age, states in enumerate(reversed(self._all)):
            if states in arranged:
                new_ages[age] = len(arranged) - 1 - arranged.index(states)
        for column in (self.age, self._learner):
            known = column.values[: len(self._cars)]
            known[:] = new_ages[known]
        for states in self._all:
            if states not in arranged:
                states.drop()
        self._all = arranged
        self._thresholds = np.array([states.model.threshold for states in reversed(arranged)], np.float32)
        self._update_handing_over()
