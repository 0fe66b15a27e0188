"""Cars that are forgotten: those unseen for a month, and the least known ones where there are too many.

Whoever may publish can invent car ids. Without a bound each would cost this replica a kilobyte, and
`car-state` a record for ever. What is forgotten here is deleted there (docs/decisions/forgotten-cars.md).
"""

import logging
import time

import numpy as np

from contract.bounds import AHEAD_MS_MAX
from scorer import metrics
from scorer.detector import AnomalyDetector
from scorer.index import CarNumbers
from scorer.snapshots import Snapshots
from scorer.trial_snapshots import Snapshot

_log = logging.getLogger("scorer")

_INTERVAL_S = 60.0  # between two looks
_DAY_MS = 86_400_000
# Forgetting takes the time of a look at all cars, so a fifth of the room is made at once.
_KEPT_SHARE = 0.8


class Departures:
    """Finds the cars of one detector that are to be forgotten."""

    def __init__(
        self, detector: AnomalyDetector, snapshots: Snapshots, cars_max: int, days_max: float
    ) -> None:
        """cars_max: cars remembered at most; days_max: days that an unseen car is remembered."""
        self._detector, self._snapshots, self._cars_max = detector, snapshots, cars_max
        self._unseen_ms = round(days_max * _DAY_MS)
        self._looked_s = -_INTERVAL_S

    def due(self, now_s: float) -> list[Snapshot]:
        """Forget the cars that are due; returns the deletions of their states. Their numbers change."""
        cars = self._detector.cars
        if len(cars) <= self._cars_max and now_s - self._looked_s < _INTERVAL_S:
            return []
        self._looked_s = now_s
        leaving = self._leaving()
        if not len(leaving):
            return []
        deletions = self._snapshots.deletions(leaving)
        cars.leave(leaving)
        self._snapshots.forget()
        return deletions

    def _leaving(self) -> CarNumbers:
        detector, count = self._detector, len(self._detector.cars)
        # By the cars' own time: a clock of ours that is set forward must not expire a fleet.
        now_ms = min(detector.cars.now_ms, time.time_ns() // 1_000_000 + AHEAD_MS_MAX)
        at_ms = detector.sampled_at.values[:count]
        unseen = (at_ms > 0) & (at_ms < now_ms - self._unseen_ms)
        leaving = np.flatnonzero(unseen)
        metrics.forgotten.labels("unseen").inc(len(leaving))
        if count - len(leaving) <= self._cars_max:
            return leaving
        learned = detector.generations.newest.all_warm() | (detector.generations.age.values[:count] > 0)
        known = (learned | detector.alerts.is_open.values[:count]) & ~unseen
        least_known = np.lexsort((at_ms, known))  # first those not learned, of these first the longest unseen
        more = count - int(_KEPT_SHARE * self._cars_max)
        metrics.forgotten.labels("too_many").inc(more - len(leaving))
        _log.warning("%d cars are more than --cars-max %d: %d are forgotten", count, self._cars_max, more)
        return least_known[:more]
