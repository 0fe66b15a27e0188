"""A trial: a challenger beside the models at work, which learns cars and scores a share of them.

All cars of a small fleet take part in a trial, and of a large one as many as are enough (contract/trial.py).

It learns a car beside the model that scores it, as a model that takes over does (`Generations`), and from
then on judges the car by itself. Who hears of it is another question: the challenger scores a car that it has
learned if the car's place in the fleet is below `share`. The models at work go on with all cars, so going
back costs nothing.

Each side has levels and alerts of every car. The alert that people see goes with the car from one side to the
other, and the one that they do not see goes the other way: every alert that opened on a topic closes there.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.evidence import AT_THRESHOLD
from contract.telemetry import Floats
from contract.trial import places, reach
from scorer.alerts import Alerts
from scorer.cars import CarTable, Mask, Rows
from scorer.consensus import Consensus
from scorer.deviations import beyond
from scorer.evidence import Counts, Crossings, Standing
from scorer.generations import Generations, Part
from scorer.index import CarNumbers
from scorer.model import Model
from scorer.model_states import ModelStates, Pupils
from scorer.shares import Components

# Instead of the model beside which a car is learned.
_NONE_YET, _LEARNED = -1, 0
_ALL = slice(None)
# A car that sends impossible values can break its own state; a model that breaks more of them is broken.
_BROKEN_ROWS_MAX, _BROKEN_SHARE_MAX = 20, 0.01


class Broken(Exception):
    """The challenger cannot be run."""


class Verdict(NamedTuple):
    """What the challenger says of one sample each of n cars, of which m are on trial."""

    rows: Rows | slice  # (m,) of the n
    score: Floats  # (m,) 0 for a car that it has not learned
    contribution: Floats  # (m, signals)
    serves: Mask | None  # (m,) whether its score is the car's; None: of no car
    judged: int  # of how many cars


class Trial:
    """The challenger's states and alerts of the cars on trial."""

    def __init__(self, model: Model, cars: CarTable, visible: Alerts) -> None:
        """`visible`: the alerts of the models at work."""
        self._cars = cars
        self._visible = visible
        self.states = ModelStates(model, cars)
        self.states.consensus = Consensus(groups=True)
        self.alerts = Alerts(cars)
        self.components = Components(model.manifest.components)
        self.serves = cars.column(False, np.bool_)  # whether the challenger scores the car
        self.changed = cars.column(False, np.bool_)  # whether its state has changed since it was written
        self._beside = cars.column(_NONE_YET if self.states.layout else _LEARNED, np.int32)
        self._place = cars.column(np.nan, np.float64)  # in the fleet, 0 to 1; NaN: not looked up yet
        self._reach = reach(model.manifest.decision)
        self._broken = self._stepped = 0

    @property
    def share(self) -> float:
        """The share of the cars that the challenger may score."""
        return self.states.model.manifest.decision.share or 0.0

    @property
    def learning(self) -> int:
        """The number of known cars on trial that the challenger has not learned."""
        known = np.arange(len(self._cars))
        return int(np.count_nonzero(self.takes(known) & ~self.learned(known)))

    def takes(self, cars: CarNumbers) -> Mask:
        """Whether each car is on trial."""
        return self._places(cars) < self._reach

    def learned(self, cars: CarNumbers) -> Mask:
        """Whether the challenger judges each car, or would if it were not of an unknown kind."""
        learned: Mask = (self._beside.values[cars] == _LEARNED) & self.states.warm(cars) & self.takes(cars)
        return learned

    def alone(self, crossings: Crossings, other: Alerts) -> int:
        """How many openings are of cars that both sides judge, and of which the other has no alert open."""
        cars = crossings.cars[crossings.opens]
        if not len(cars):
            return 0
        return int(np.count_nonzero(self.learned(cars) & (other.crossed.values[cars] <= AT_THRESHOLD)))

    def update(self, model: Model) -> None:
        """Go on with a newer record of the same version: another share, or another threshold."""
        scale = float(self.states.model.threshold / model.threshold)
        self.states.model = model
        if scale != 1:
            self.alerts.adopt(np.arange(len(self._cars)), self.alerts, scale, model.manifest.alert)
        # A car that takes part goes on whatever the share becomes: no state is older than the others.
        self._reach = max(self._reach, reach(model.manifest.decision))
        if not self.share:
            self._give_back()

    def step(self, cars: CarNumbers, signals: Floats, parts: list[Part], moves: bool) -> Verdict | None:
        """Let the challenger see the samples that the models at work have just scored, in these parts.

        With `moves` its states are replaced by those after the sample. None where no car is on trial. Raises
        Broken.
        """
        place, count = self._places(cars), len(cars)
        rows: Rows | slice = _ALL
        if not (takes := place < self._reach).all():
            rows = np.flatnonzero(takes)
            if not len(rows):
                return None
            cars, signals, place = cars.take(rows), signals.take(rows, axis=0), place.take(rows)
        states, before_broken = self.states, self.states.broken
        try:
            score, contribution, before, after = states.step(cars, signals)
        except (RuntimeError, ValueError) as error:
            raise Broken(f"its graph: {error}") from error
        learned = states.warm_rows(before)
        self._stepped += len(cars)
        sound = np.isfinite(score)
        if states.broken > before_broken or not sound.all():
            stays = sound & np.any(after, axis=1) if states.layout else sound
            self._check(stays, _only(parts, rows, count))
            lost = learned & ~states.warm_rows(after)
            self._beside.values[cars[lost]] = _NONE_YET
            learned &= sound & ~lost
        all_learned = learned.all()
        if not all_learned:
            score = np.where(learned, score, np.float32(0))
        serves = learned & (place < self.share) if self.share else None
        if moves:
            if all_learned:
                states.column.put(cars, after)
            else:
                self._learn(cars, after, _only(parts, rows, count))
            self.changed.values[cars] = True
            if serves is not None:
                self._move_alerts(cars, serves)
        return Verdict(rows, score, contribution, serves, states.judged(after, learned))

    def _check(self, sound: Mask, parts: list[Part]) -> None:
        """Count what is broken here alone. Raises Broken where it is too much."""
        broken = ~sound
        for part in parts:
            broken[part.rows] &= part.after.any(axis=1) if part.states.layout else True
        self._broken += int(np.count_nonzero(broken))
        if self._broken > max(_BROKEN_ROWS_MAX, _BROKEN_SHARE_MAX * self._stepped):
            raise Broken(f"{self._broken} states or scores that are not finite")

    def _learn(self, cars: CarNumbers, after: Floats, parts: list[Part]) -> None:
        """Store the states after a sample, and learn the cars that are not learned beside their models."""
        beside = self._beside.values
        for rows, old, old_before, old_after in parts:
            of_part, learned = cars[rows], after[rows]
            now = beside[of_part]
            anew = (now != _LEARNED) & (now != old.version)
            # A car that goes to another model is learned anew from its next sample on, beside that.
            learned[anew & (now != _NONE_YET)] = 0
            beside[of_part[anew]] = old.version
            pupils, around = now != _LEARNED, (old_before, old_after)
            if not pupils.all():
                self.states.column.put(of_part, learned)
                of_part, learned = of_part[pupils], learned[pupils]
                around = old_before[pupils], old_after[pupils]
            if len(of_part):
                ready = self.states.learn(of_part, learned, old, *around)
                if ready.any():
                    self.states.take_over(of_part[ready], old, lambda: self._pupils(parts))
                    beside[of_part[ready]] = _LEARNED

    def _pupils(self, parts: list[Part]) -> Pupils:
        """The cars that are being learned, by the models beside which: those that scored in this step."""
        beside = self._beside.values[: len(self._cars)]
        by_version = {part.states.version: part.states for part in parts}
        return [(np.flatnonzero(beside == version), states) for version, states in by_version.items()]

    def _places(self, cars: CarNumbers) -> NDArray[np.float64]:
        """(n,) the places of n cars in the fleet."""
        place: NDArray[np.float64] = self._place.values.take(cars)
        if len(new := np.flatnonzero(np.isnan(place))):
            ids = self._cars.ids
            place[new] = places([ids[car] for car in cars[new].tolist()], self.states.version)
            self._place.values[cars] = place
        return place

    def _move_alerts(self, cars: CarNumbers, serves: Mask) -> None:
        """Let the visible alerts of n cars be those of the model whose score is the car's."""
        moved = serves != self.serves.values[cars]
        if moved.any():
            self.alerts.exchange(cars[moved], self._visible)
            self.serves.values[cars] = serves

    def _give_back(self) -> None:
        """Let the models at work score all cars again; their visible alerts go on."""
        serves = np.flatnonzero(self.serves.values[: len(self._cars)])
        self.alerts.exchange(serves, self._visible)
        self.serves.values[serves] = False

    def standing(self, *, ended: bool = False) -> Standing:
        """What is counted since the last call and, unless it has ended, how the cars stand now."""
        states, known = self.states, np.arange(len(self._cars))
        counts, states.counts = states.counts, Counts()
        standing = Standing(manifest=states.model.manifest, share=self.share, counts=counts)
        if ended:
            return standing
        return replace(
            standing,
            cars=int(np.count_nonzero(self.takes(known))),
            learning=self.learning,
            strange=int(np.count_nonzero(self.learned(known) & states.strange(slice(len(known))))),
            open=self.alerts.open_levels,
            signals=beyond(states, len(known)),
        )

    def restore(self, cars: CarNumbers, generations: Generations) -> None:
        """Go on with states of these cars, which are on trial and were read back.

        What is not learned is learned beside the models now.
        """
        warm = self.states.warm(cars)
        beside = np.array([generations.scored_by(car).version for car in cars.tolist()], np.int32)
        self._beside.values[cars] = np.where(warm, _LEARNED, beside)

    def promote(self, model: Model, generations: Generations) -> None:
        """Make the challenger the newest of the models at work; it keeps what it has learned.

        The cars that were not on trial are handed over, as to any new model.
        """
        self._give_back()
        scale = float(self.states.model.threshold / model.threshold)
        known = np.arange(len(self._cars))
        beside = np.where(self.takes(known), self._beside.values[known], _NONE_YET)
        learned = np.flatnonzero(beside == _LEARNED)
        self._visible.adopt(learned, self.alerts, scale, model.manifest.alert)
        self.states.model = model
        generations.promote(self.states, beside)
        self._drop()

    def end(self) -> None:
        """Withdraw the challenger."""
        self._give_back()
        self.states.drop()
        self._drop()

    def _drop(self) -> None:
        self.alerts.drop()
        for column in (self.serves, self.changed, self._beside, self._place):
            self._cars.drop(column)


def _only(parts: list[Part], rows: Rows | slice, count: int) -> list[Part]:
    """The parts of these of `count` samples, numbered anew."""
    if isinstance(rows, slice):
        return parts
    number = np.full(count, -1)
    number[rows] = np.arange(len(rows))
    chosen = []
    for part in parts:
        its = number[part.rows]
        kept = np.flatnonzero(its >= 0)
        before, after = part.before.take(kept, axis=0), part.after.take(kept, axis=0)
        chosen.append(Part(its[kept], part.states, before, after))
    return chosen
