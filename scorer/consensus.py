"""What the cars agree on while a newer model learns them beside an older one.

Three things many cars can tell better than one: what all of them drifted, by how much a sound car seems to
drift, and how much two models may differ for one car.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats

# With fewer cars the faults of some could be taken for a change of the fleet, and a median would be noise.
CARS_MIN = 30
CARS_MAX = 1_000  # more cars do not change a median
_ROWS_A_CAR = 8  # samples between two looks at the cars, so that a look costs nothing measurable
_USUAL = 3.0  # spreads of the cars around their median: a car further away may be faulty
_COMMON = 1.0  # a median over this many spreads is a drift of the fleet
# So many cars that drift by more than these spreads the same way are a group: a sensor was changed in them.
_GROUP, _GROUP_SPREADS = 0.12, 5.0
# At each hand-over this share of a usual drift becomes normal. Without it the small errors of hand-overs
# would add up; a fault outgrows it.
_FORGOTTEN = 0.2
# The difference between two models for a car is half the car's own and half that of all cars: what the car
# drove in a few hours is not all that it drives.
_OWN = 0.5
# Where cars drift so many times further apart than usual (in a cold snap twice as far), the older
# model does not know their world: most of a drift is its own error, and models differ by the car.
_UNKNOWN, _FORGOTTEN_IF_UNKNOWN, _OWN_IF_UNKNOWN = 1.4, 0.8, 1.0
_TO_DEVIATION = 1.4826  # a normal distribution's standard deviation, in median distances from its median


class Consensus:
    """What is known of the cars that one model learns, in the units of its baselines (J,)."""

    def __init__(self, groups: bool = False) -> None:
        """With `groups`, what a part of the fleet drifts becomes normal, too.

        That is right only for a model that scores no car before somebody has looked at some of these cars:
        an epidemic of one bad part looks the same.
        """
        self._with_groups = groups
        self._groups: list[_Group] = []
        self.watched = 0  # samples since the last look
        self._pause = 0  # samples until the next one
        self._drift: tuple[Floats, Floats] | None = None  # median and spread; None: of too few cars
        self._difference: tuple[Floats, Floats] | None = None
        self._unknown = False  # whether the older model does not know the world of these cars

    @property
    def due(self) -> bool:
        """Whether enough was watched for another look."""
        return self.watched >= self._pause

    def look(self, drift: Floats, difference: Floats, usual: Floats | None = None) -> None:
        """Take in drift and difference (m, J) of some cars, see `StateLayout.compared`.

        usual (J,): how far a healthy car typically seems to drift, if that is known.
        """
        self.watched, self._pause = 0, _ROWS_A_CAR * max(len(drift), CARS_MIN)
        if len(drift) >= CARS_MIN:
            self._drift, self._difference = _middle(drift), _middle(difference)
            self._groups = _groups(drift, difference, *self._drift) if self._with_groups else []
            self._unknown = usual is not None and np.median(self._drift[1] / usual) > _UNKNOWN

    def normal(self, drift: Floats) -> Floats:
        """What of the drift (n, J) of n cars is normal from now on: that of all cars, and a little more.

        Nothing where too few cars are known.
        """
        if self._drift is None:
            return np.zeros_like(drift)
        median, spread = self._drift
        common = np.where(np.abs(median) > _COMMON * spread, median, np.float32(0))
        if self._groups:
            common = np.broadcast_to(common, drift.shape).copy()
            for group in self._groups:
                common[group.members(drift, median)] = group.drift
        own: Floats = np.clip(drift - common, -_USUAL * spread, _USUAL * spread)
        normal: Floats = common + np.float32(_FORGOTTEN_IF_UNKNOWN if self._unknown else _FORGOTTEN) * own
        return normal

    def settled(self, difference: Floats, drift: Floats) -> Floats:
        """The difference (n, J) between two models for n cars, without what only a fault can explain.

        drift (n, J) of the same cars.
        """
        if self._difference is None or self._drift is None:
            return difference
        median, spread = self._difference
        if self._groups:
            median = np.broadcast_to(median, difference.shape).copy()
            for group in self._groups:
                median[group.members(drift, self._drift[0])] = group.difference
        own: Floats = np.clip(difference - median, -_USUAL * spread, _USUAL * spread)
        return median + np.float32(_OWN_IF_UNKNOWN if self._unknown else _OWN) * own


def _middle(values: Floats) -> tuple[Floats, Floats]:
    """(median (J,), spread (J,)) of values (m, J), which a few faulty cars hardly move."""
    median: Floats = np.median(values, axis=0)
    spread: Floats = np.float32(_TO_DEVIATION) * np.median(np.abs(values - median), axis=0)
    return median, spread


class _Group(NamedTuple):
    """Cars of which each drifts in one signal by about as much."""

    signal: int
    drift: Floats  # (J,) in the median; a sensor that reads otherwise moves what is expected of others, too
    difference: Floats  # (J,) likewise

    def members(self, drift: Floats, median: Floats) -> NDArray[np.bool_]:
        """Which of n cars with this drift (n, J) belong to it rather than to all cars, with this median."""
        drifts = drift[:, self.signal]
        members: NDArray[np.bool_] = np.abs(drifts - self.drift[self.signal]) < np.abs(
            drifts - median[self.signal]
        )
        return members


def _groups(drift: Floats, difference: Floats, median: Floats, spread: Floats) -> list[_Group]:
    """Groups of cars that drift in one signal far more than the others, or far less; no car is in two."""
    found, taken = list[_Group](), np.zeros(len(drift), np.bool_)
    away = (drift - median) / np.maximum(spread, np.finfo(np.float32).tiny)
    # Where the signals of a group drift together, the one that sets it apart most names it.
    for signal in np.argsort(-np.quantile(np.abs(away), 1 - _GROUP, axis=0)):
        for side in (-1, 1):
            far = (side * away[:, signal] > _GROUP_SPREADS) & ~taken
            if far.mean() > _GROUP:
                found.append(
                    _Group(int(signal), np.median(drift[far], axis=0), np.median(difference[far], axis=0))
                )
                taken |= far
    return found
