"""The states of all cars for one model, and how a car is handed over from an older model to a newer one.

While the newer model learns the car, the mean of the older model's deviation stands in the columns of its
own, which the graph leaves alone until then: nothing else has to be kept or written to car-state.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np

from contract.state_layout import SEEN
from contract.telemetry import Floats
from scorer import metrics
from scorer.cars import CarTable, Mask
from scorer.consensus import CARS_MAX, Consensus
from scorer.evidence import Counts
from scorer.index import CarNumbers
from scorer.model import Model
from scorer.relearning import Relearning

# Cars that a model learns, with the model beside which it learns them.
Pupils = list[tuple[CarNumbers, "ModelStates"]]

# How far the mean deviation of half a learning period spreads over healthy cars, times a moving average's.
_OF_A_MEAN = 0.85


class ModelStates:
    """The states of all cars for one model, in one array (cars, width); a new car's is all zeros."""

    def __init__(self, model: Model, cars: CarTable) -> None:
        self._cars = cars
        self.model = model
        self.layout = model.manifest.state
        self.column = cars.column(0, np.float32, model.width)
        # If this model was replaced and has come back: the cars that it had learned before.
        self._learned_before = cars.column(False, np.bool_)
        self.consensus = Consensus()  # of the cars that this model learns
        self.counts = Counts()  # since the last evidence
        self.broken = 0  # states that were not finite
        self._relearning = Relearning(cars)

    @property
    def version(self) -> int:
        """The version of the model."""
        return self.model.manifest.version

    def step(self, cars: CarNumbers, signals: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Score, contribution, states before and after one sample each of n different cars (n, …).

        A state that is not finite would stay so for ever, so it is zero here and the car is learned anew.
        """
        before = self.column.values.take(cars, axis=0)
        score, contribution, after = self.model.step(signals, before)
        if self.layout is not None:
            self._relearning.bound(cars, before, after, self.layout)
        finite = np.isfinite(after)
        if not finite.all():
            broken = ~finite.all(axis=1)
            self.broken += int(broken.sum())
            metrics.states_refused.labels("not_finite").inc(int(broken.sum()))
            after[broken] = 0
        return score, contribution, before, after

    def _usual_drift(self, old: "ModelStates") -> Floats | None:
        """(J,) how far a healthy car typically seems to drift from an older model; None: not known.

        The mean of half a learning period, and what an average over the memory has not taken in by then.
        """
        if self.healthy is None or self.layout is None or old.layout is None:
            return None
        late = (old.layout.memory_samples - 1) / self.layout.handover_samples
        usual: Floats = self.healthy * np.float32(_OF_A_MEAN + late)
        return usual

    @cached_property
    def healthy(self) -> Floats | None:
        """(J,) how far the deviation of a healthy car typically is from 0; None where it is not known."""
        hypotheses = self.model.manifest.hypotheses
        if self.layout is None or hypotheses is None:
            return None
        healthy = hypotheses.healthy(range(*self.layout.deviation))
        return None if healthy is None else healthy[1].astype(np.float32)

    def warm(self, cars: CarNumbers | slice) -> Mask:
        """Whether the model has learned each car; one without state has nothing to learn."""
        return self.warm_rows(self.column.values[cars])

    def warm_rows(self, states: Floats) -> Mask:
        """Whether the model has learned each of n cars with these states (n, width)."""
        return np.ones(len(states), np.bool_) if self.layout is None else self.layout.warm(states)

    def all_warm(self) -> Mask:
        """Whether the model has learned each car, for all cars (without a copy of their states)."""
        return self.warm(slice(len(self._cars)))

    def strange(self, cars: CarNumbers | slice) -> Mask:
        """Whether each car is of a kind that is unknown to the model, which does not judge it then."""
        states = self.column.values[cars]
        return np.zeros(len(states), np.bool_) if self.layout is None else self.layout.strange(states)

    def judged(self, states: Floats, warm: Mask | None = None) -> int:
        """How many of n cars with these states (n, width) after a sample the model judges.

        warm (n,): which of them it has learned, where that is known already.
        """
        warm = self.warm_rows(states) if warm is None else warm
        calm = None if self.layout is None else self.layout.calm(states)
        return int(np.count_nonzero(warm if calm is None else warm & calm))

    def come_back(self) -> None:
        """Note that this model was replaced and is the newest again."""
        self._learned_before.values[: len(self._cars)] = self.all_warm()

    def begin(self, cars: CarNumbers) -> None:
        """Learn these cars anew, except those that this model had learned before."""
        self.column.values[cars[~self._learned_before.values[cars]]] = 0

    def drop(self) -> None:
        """Free the arrays."""
        self._cars.drop(self.column)
        self._cars.drop(self._learned_before)
        self._relearning.drop()

    def learn(
        self, cars: CarNumbers, learned: Floats, old: "ModelStates", before: Floats, after: Floats
    ) -> Mask:
        """Store the states of n cars that are learned beside an older model; see `watch`."""
        ready = self.watch(learned, old, before, after)
        self.column.put(cars, learned)
        self.consensus.watched += len(cars)
        return ready

    def take_over(self, cars: CarNumbers, old: "ModelStates", pupils: Callable[[], Pupils]) -> None:
        """Judge these cars from now on, with what an older model knew of them.

        `pupils`: all cars that this model learns, by the model beside which.
        """
        if self.consensus.due:
            groups = pupils()
            every = max(1, sum(len(group) for group, _ in groups) // CARS_MAX)
            parts = [self.compared(group[::every], model) for group, model in groups]
            parts = [part for part in parts if part.size] or [np.empty((2, 0, 0), np.float32)]
            drift, difference = np.concatenate(parts, axis=1)
            self.consensus.look(drift, difference, self._usual_drift(old))
        self.inherit(cars, old)

    def watch(self, learned: Floats, old: "ModelStates", before: Floats, after: Floats) -> Mask:
        """Whether n cars are ready to be handed over from an older model to this one.

        learned (n, width): their states after a sample; before and after (n, old width): the older model's
        around the same sample. The mean of the old deviation is moved on in `learned`, in place.
        """
        mine, theirs = self.layout, old.layout
        if mine is None or theirs is None:
            return np.ones(len(learned), np.bool_) if mine is None else mine.warm(learned)
        ready, was_judged = mine.warm(learned), theirs.judged(after)
        if mine.units == theirs.units:
            watched = was_judged & ~ready
            if watched.all():
                mine.watch(learned, theirs, before, after)
            elif watched.any():
                part = learned[watched]
                mine.watch(part, theirs, before[watched], after[watched])
                learned[watched] = part
            ready |= was_judged & (learned[:, SEEN] >= mine.handover_samples)
        # The old model keeps other cars only until this one has seen as many samples: of a car of a kind that
        # it does not know it knows nothing of use.
        if not was_judged.all():
            ready |= ~was_judged & (learned[:, SEEN] >= after[:, SEEN])
        return ready

    def inherit(self, cars: CarNumbers, old: "ModelStates") -> None:
        """Take over what an older model knew of these cars."""
        if self.layout is None or old.layout is None or self.layout.units != old.layout.units:
            return
        theirs = old.column.values[cars]
        knew = old.layout.judged(theirs) & (self.column.values[cars, SEEN] > 0)
        self.unwatch(cars[~knew])
        cars, theirs = cars[knew], theirs[knew]
        mine, baseline = self.column.values[cars], slice(*self.layout.baseline)
        drift, difference = self.layout.compared(mine, old.layout, theirs)
        normal, difference = self.consensus.normal(drift), self.consensus.settled(difference, drift)
        inherited = self.layout.inherited(mine, old.layout, theirs, difference=difference, normal=normal)
        # A baseline that was learned before the model was replaced contains nothing of the drift that the
        # other model saw, so it stays; only the memory has missed the time in between.
        before = self._learned_before.values[cars]
        inherited[before, baseline] = mine[before, baseline]
        self.column.values[cars] = inherited
        self._learned_before.values[cars] = False

    def unwatch(self, cars: CarNumbers) -> None:
        """Forget what was watched of an older model's deviation, of those of these cars still learned."""
        if self.layout is not None:
            cars = cars[~self.warm(cars)]
            self.column.values[cars, slice(*self.layout.deviation)] = 0

    def compared(self, cars: CarNumbers, old: "ModelStates") -> Floats:
        """(2, m, J) drift and difference from an older model, of those of the cars that show them by now."""
        if self.layout is None or old.layout is None or self.layout.units != old.layout.units:
            return np.empty((2, 0, 0), np.float32)
        mine, theirs = self.column.values[cars], old.column.values[cars]
        shows = old.layout.judged(theirs) & ~self.layout.warm(mine)
        shows &= mine[:, SEEN] >= self.layout.handover_samples // 2
        return np.stack(self.layout.compared(mine[shows], old.layout, theirs[shows]))
