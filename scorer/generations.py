"""The models at work. A new one blinds no car: until it has learned a car, the one before scores it.

Every sample goes through the newest model, and also through the one that scores its car where that is an
older one. Once the newest has learned a car it takes over what the older one knew of it
(docs/decisions/state-handover.md).
"""

import numpy as np
from numpy.typing import NDArray

from contract.manifest import Manifest
from contract.telemetry import Floats
from scorer.cars import Cars
from scorer.index import Places
from scorer.model import Model
from scorer.states import States

# One that comes while the last hand-over goes on is learned beside both; of one more the oldest gives way.
GENERATIONS_MAX = 3

Behind = NDArray[np.int8]


class Generations:
    """The states of each model at work, oldest first."""

    def __init__(self, cars: Cars) -> None:
        self._cars = cars
        self._all: list[States] = []
        # By how many models each car lags behind the newest; a new car begins with that.
        self._behind = cars.column(0, np.int8)
        self._handing_over = False
        self._thresholds = np.ones(1, np.float32)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def newest(self) -> States:
        """Of the model that scores every car it has learned."""
        return self._all[-1]

    @property
    def versions(self) -> dict[int, States]:
        """All by their models' versions."""
        return {states.version: states for states in self._all}

    @property
    def stateful(self) -> bool:
        """Whether any model at work has states."""
        return self._handing_over or self.newest.layout is not None

    def add(self, model: Model) -> None:
        """A model as the newest, and the champion from now on.

        One that is at work already returns with its states.
        """
        serving = self._serving()
        known = self.versions.get(model.manifest.version)
        newest = States(model, self._cars) if known is None else known
        if known is not None and known is not self.newest:
            known.come_back()
        newest.model = model
        before = [states for states in self._all if states is not newest]
        # Besides the last one, which may have to come back, only what still scores a car.
        kept = [states for states in before if states is before[-1] or states in serving]
        self._arrange([*kept, newest], serving)
        if newest.layout is None:  # knows every car as well as it ever will
            self._behind.values[: len(self._cars)] = 0
        self._look()

    def add_older(self, model: Model) -> None:
        """A model that scored cars of which states were read back; it goes before the newest ones."""
        serving = self._serving()
        older = States(model, self._cars)
        place = sum(states.version < older.version for states in self._all[:-1])
        self._arrange([*self._all[:place], older, *self._all[place:]], serving)

    def step(self, cars: Places, signals: Floats, moves: bool = True) -> tuple[Floats, Floats, Behind | None]:
        """score (n,), contribution (n, 18) and which model said so, of one sample each of n different cars.

        That is by how many the model is older than the newest; None: the newest said all. `moves`: whether
        the states move on.
        """
        score, contribution = self.newest.step(cars, signals, moves)
        if not self._handing_over:
            return score, contribution, None
        behind: Behind = self._behind.values[cars]
        for back in range(1, len(self._all)):
            rows = np.flatnonzero(behind == back)
            if len(rows):
                of_old = self._all[-1 - back].step(cars[rows], signals[rows], moves)
                score[rows], contribution[rows] = of_old
                if moves:
                    self._hand_over(cars[rows], self._all[-1 - back])
        return score, contribution, behind

    def thresholds(self, behind: Behind | None) -> NDArray[np.float32] | np.float32:
        """The threshold that each score is to be held against."""
        newest: np.float32 = self._thresholds[0]
        return newest if behind is None else self._thresholds[behind]

    def manifest(self, behind: int) -> Manifest:
        """Of the model that is by so many older than the newest."""
        return self._all[-1 - behind].model.manifest

    def scored_by(self, car: int) -> States:
        """Of the model that scores the car."""
        return self._all[-1 - int(self._behind.values[car])]

    def behind(self, cars: Places) -> Behind:
        """By how many models the one that scores it is older than the newest, of each of n cars."""
        behind: Behind = self._behind.values[cars]
        return behind

    def serve(self, cars: Places, states: States) -> None:
        """This model scores these cars."""
        self._behind.values[cars] = len(self._all) - 1 - self._all.index(states)
        self._look()

    def look(self) -> tuple[int, int]:
        """(cars that the newest model has not learned, cars that an older one still scores)."""
        self._look()
        behind = self._behind.values[: len(self._cars)]
        return int((~self.newest.all_warm()).sum()), int((behind > 0).sum())

    def _look(self) -> None:
        self._handing_over = bool(self._behind.values[: len(self._cars)].any())

    def _hand_over(self, cars: Places, old: States) -> None:
        """To the newest, those that it has learned, or knows at least as well as the old one does."""
        new, was_warm = self.newest, old.warm(cars)
        learned = new.warm(cars)
        if new.layout is not None and old.layout is not None and not was_warm.all():
            learned |= ~was_warm & (new.column.values[cars, 0] >= old.column.values[cars, 0])
        if learned.any():
            new.inherit(cars[learned & was_warm], old)
            self._behind.values[cars[learned]] = 0

    def _serving(self) -> list[States]:
        """Those that score any car."""
        if not self._all:
            return []
        count = np.bincount(self._behind.values[: len(self._cars)], minlength=len(self._all))
        return [states for back, states in enumerate(reversed(self._all)) if count[back]]

    def _arrange(self, arranged: list[States], serving: list[States]) -> None:
        """These are at work from now on, at most GENERATIONS_MAX; cars of others go to the oldest left."""
        arranged = arranged[-GENERATIONS_MAX:]
        new_behind = np.zeros(max(len(self._all), 1), np.int8)
        for back, states in enumerate(reversed(self._all)):
            place = arranged.index(states) if states in arranged else 0
            new_behind[back] = len(arranged) - 1 - place
        known = slice(0, len(self._cars))
        self._behind.values[known] = new_behind[self._behind.values[known]]
        for states in self._all:
            if states not in arranged:
                states.drop()
        self._all = arranged
        self._thresholds = np.array([s.model.threshold for s in reversed(arranged)], np.float32)
        self._look()
