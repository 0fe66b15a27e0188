"""Alerts: the smoothed score of a car went over the threshold, and has not come back yet."""

from dataclasses import dataclass

import numpy as np

from contract.alert_rule import AlertRule, follow, judge
from contract.telemetry import Floats
from scorer.cars import CarTable, Mask, Rounds
from scorer.index import CarNumbers


@dataclass(frozen=True)
class Alert:
    """An open alert."""

    seq: int  # of the sample that opened it
    opened_at: int  # when that sample was taken, ms since 1970
    component: str  # hypothesis about the failing component; empty: none
    confidence: float  # of the hypothesis, 0 to 1

    def id(self, car: bytes) -> str:
        """The alert's id; it does not change when the sample is scored again."""
        return f"{car.decode(errors='replace')}-{self.seq}"


class Alerts:
    """The levels (smoothed scores) of all cars as shares of the threshold, and the open alerts."""

    def __init__(self, cars: CarTable) -> None:
        self.level = cars.column(0, np.float32)
        self._is_open = cars.column(False, np.bool_)
        self._cars = cars
        self._open: dict[bytes, Alert] = {}

    def __len__(self) -> int:
        """The number of open alerts."""
        return len(self._open)

    def advance(
        self, rounds: Rounds, shares: Floats, rule: AlertRule
    ) -> tuple[Floats, list[tuple[int, bool]]]:
        """(levels (m,) after each of m scores, the changes: which of the m opens (True) or closes an alert).

        shares (m,): the scores as shares of the threshold. The caller must pass the changes, in their order,
        to `open` and `close`.
        """
        levels = np.empty_like(shares)
        for span in rounds.spans:
            cars = rounds.cars[span]
            levels[span] = level = follow(
                self.level.values.take(cars), shares[span], threshold=1.0, rule=rule
            )
            self.level.values[cars] = level
        return levels, self._changes(rounds, levels, rule)

    def _changes(self, rounds: Rounds, levels: Floats, rule: AlertRule) -> list[tuple[int, bool]]:
        """Judge, round by round, only the few cars that have an alert or a level over the threshold."""
        is_open = self._is_open.values
        candidates = rounds.cars[(levels > 1) | is_open.take(rounds.cars)]
        if not len(candidates):
            return []
        rows = np.flatnonzero(np.isin(rounds.cars, candidates))
        changes: list[tuple[int, bool]] = []
        for span in rounds.spans:
            start, stop = np.searchsorted(rows, (span.start, span.stop))
            in_round = rows[start:stop]
            cars = rounds.cars[in_round]
            is_open[cars], opened, closed = judge(levels[in_round], is_open[cars], threshold=1.0, rule=rule)
            changed = opened | closed
            changes += zip(in_round[changed].tolist(), opened[changed].tolist(), strict=True)
        return changes

    def open(self, car: int, alert: Alert) -> None:
        """Store a car's alert, opened now or read back."""
        self._is_open.values[car] = True
        self._open[self._cars.ids[car]] = alert

    def close(self, car: int) -> Alert:
        """Remove a car's alert and return it."""
        self._is_open.values[car] = False
        return self._open.pop(self._cars.ids[car])

    def get(self, car: bytes) -> Alert | None:
        """The open alert of a car id."""
        return self._open.get(car)

    def are_open(self, cars: CarNumbers) -> Mask:
        """Whether each car has an open alert."""
        return self._is_open.values[cars]

    def keep_known(self) -> None:
        """Drop the alerts of cars that are no longer in the table (after `CarTable.forget`)."""
        if self._open:
            known = set(self._cars.ids)
            self._open = {car: alert for car, alert in self._open.items() if car in known}
