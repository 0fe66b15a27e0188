"""Cars that are forgotten: those unseen for a month, and the least known ones where there are too many.

Whoever may publish can invent car ids. Without a bound each would cost this replica a kilobyte, and
`car-state` a record for ever. What is forgotten here is deleted there, once Kafka has
the closing of its alert (docs/decisions/forgotten-cars.md).
"""

import logging
import time
from typing import NamedTuple

import numpy as np

from contract.bounds import AHEAD_MS_MAX
from scorer import metrics
from scorer.detector import AlertRecord, AnomalyDetector
from scorer.findings import alert_record
from scorer.index import CarNumbers
from scorer.snapshots import Snapshots
from scorer.trial_snapshots import Snapshot

_log = logging.getLogger("scorer")

_INTERVAL_S = 60.0  # between two looks
_DAY_MS = 86_400_000
# Forgetting takes the time of a look at all cars, so a fifth of the room is made at once.
_KEPT_SHARE = 0.8


class Forgotten(NamedTuple):
    """What is to be written of cars that were forgotten, in this order."""

    closings: list[AlertRecord]  # of their open alerts, with the reason
    deletions: list[Snapshot]  # of their states


class Departures:
    """Finds the cars of one detector that are to be forgotten."""

    def __init__(
        self, detector: AnomalyDetector, snapshots: Snapshots, cars_max: int, days_max: float
    ) -> None:
        """cars_max: cars remembered at most; days_max: days that an unseen car is remembered."""
        self._detector, self._snapshots, self._cars_max = detector, snapshots, cars_max
        self._unseen_ms = round(days_max * _DAY_MS)
        self._looked_s = -_INTERVAL_S

    def due(self, now_s: float) -> Forgotten:
        """Forget the cars that are due; their numbers change."""
        cars = self._detector.cars
        if len(cars) <= self._cars_max and now_s - self._looked_s < _INTERVAL_S:
            return Forgotten([], [])
        self._looked_s = now_s
        unseen, too_many = self._leaving()
        leaving = np.concatenate([unseen, too_many])
        if not len(leaving):
            return Forgotten([], [])
        closings = self._closings(unseen, "unseen") + self._closings(too_many, "too_many")
        deletions = self._snapshots.deletions(leaving)
        cars.leave(leaving)
        self._snapshots.forget()
        return Forgotten(closings, deletions)

    def _closings(self, leaving: CarNumbers, reason: str) -> list[AlertRecord]:
        """The records that close the alerts which people see of these cars."""
        metrics.forgotten.labels(reason).inc(len(leaving))
        detector, trial, closings = self._detector, self._detector.trial, []
        may_have = detector.alerts.is_open.values[leaving]
        if trial:
            may_have = may_have | trial.alerts.is_open.values[leaving]
        for car in leaving[may_have].tolist():
            if not (alert := detector.visible_alert(car)):
                continue
            served = trial if trial and trial.serves.values[car] else None
            states = served.states if served else detector.generations.scored_by(car)
            level = (served or detector).alerts.level.values[car]
            at_ms = int(detector.sampled_at.values[car])
            key = detector.cars.ids[car]
            record = alert_record(key, alert, states, action="closed", at_ms=at_ms, level=level)
            closings.append(record | {"reason": reason, "scored_at": time.time_ns() // 1_000_000})
        return closings

    def _leaving(self) -> tuple[CarNumbers, CarNumbers]:
        """The cars unseen for too long, and of the others those that are too many."""
        detector, count = self._detector, len(self._detector.cars)
        # By the cars' own time: a clock of ours that is set forward must not expire a fleet.
        now_ms = min(detector.cars.now_ms, time.time_ns() // 1_000_000 + AHEAD_MS_MAX)
        at_ms = detector.sampled_at.values[:count]
        unseen = (at_ms > 0) & (at_ms < now_ms - self._unseen_ms)
        leaving = np.flatnonzero(unseen)
        if count - len(leaving) <= self._cars_max:
            return leaving, leaving[:0]
        learned = detector.generations.newest.all_warm() | (detector.generations.age.values[:count] > 0)
        known = learned | detector.alerts.is_open.values[:count]
        if detector.trial:
            known |= detector.trial.alerts.is_open.values[:count]
        # First those unseen, then those not learned, of these first the longest unseen.
        least_known = np.lexsort((at_ms, known, ~unseen))
        more = count - int(_KEPT_SHARE * self._cars_max)
        _log.warning("%d cars are more than --cars-max %d: %d are forgotten", count, self._cars_max, more)
        return leaving, least_known[len(leaving) : more]
