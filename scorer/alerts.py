"""Alerts: the smoothed score of a car went over the threshold, and has not come back yet."""

from dataclasses import dataclass

import numpy as np

from contract.alert_rule import AlertRule, follow, judge
from contract.telemetry import Floats
from scorer.cars import Cars, Mask, Rounds
from scorer.index import Places


@dataclass(frozen=True)
class Alert:
    """An open one: the sample that opened it, and the hypothesis made then."""

    seq: int
    opened_at: int
    component: str
    confidence: float

    def id(self, car: bytes) -> str:
        """The same however often the sample is scored."""
        return f"{car.decode(errors='replace')}-{self.seq}"


class Alerts:
    """Levels and open alerts of all cars. A level is a share of the threshold: models have different ones."""

    def __init__(self, cars: Cars) -> None:
        self.level = cars.column(0, np.float32)
        self._is_open = cars.column(False, np.bool_)
        self._cars = cars
        self._open: dict[bytes, Alert] = {}

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def advance(
        self, rounds: Rounds, shares: Floats, rule: AlertRule
    ) -> tuple[Floats, list[tuple[int, bool]]]:
        """The levels (m,) after each of m scores; and the turns: which of them opens or closes an alert.

        shares (m,): the scores as shares of the threshold. A turn is a place among the m, and whether an
        alert opens with it or closes; they must be told, in this order, by `open` and `close`.
        """
        levels = np.empty_like(shares)
        for span in rounds.spans:
            cars = rounds.cars[span]
            levels[span] = level = follow(
                self.level.values.take(cars), shares[span], threshold=1.0, rule=rule
            )
            self.level.values[cars] = level
        return levels, self._turns(rounds, levels, rule)

    def _turns(self, rounds: Rounds, levels: Floats, rule: AlertRule) -> list[tuple[int, bool]]:
        """Few cars have an alert, or come to have one: only these are judged, round by round."""
        is_open = self._is_open.values
        restless = rounds.cars[(levels > 1) | is_open.take(rounds.cars)]
        if not len(restless):
            return []
        rows = np.flatnonzero(np.isin(rounds.cars, restless))
        turns: list[tuple[int, bool]] = []
        for span in rounds.spans:
            start, stop = np.searchsorted(rows, (span.start, span.stop))
            here = rows[start:stop]
            cars = rounds.cars[here]
            is_open[cars], opened, closed = judge(levels[here], is_open[cars], threshold=1.0, rule=rule)
            turned = opened | closed
            turns += zip(here[turned].tolist(), opened[turned].tolist(), strict=True)
        return turns

    def open(self, car: int, alert: Alert) -> None:
        """The alert of a car; also one that is read back."""
        self._is_open.values[car] = True
        self._open[self._cars.ids[car]] = alert

    def close(self, car: int) -> Alert:
        """The alert of a car, which is over."""
        self._is_open.values[car] = False
        return self._open.pop(self._cars.ids[car])

    def of(self, car: bytes) -> Alert | None:
        """The open alert of a car."""
        return self._open.get(car)

    def are_open(self, cars: Places) -> Mask:
        """Whether each of n cars has an open alert."""
        is_open: Mask = self._is_open.values[cars]
        return is_open

    def keep(self) -> None:
        """Only of cars that are still known (`Cars.forget`)."""
        if self._open:
            known = set(self._cars.ids)
            self._open = {car: alert for car, alert in self._open.items() if car in known}
