"""Alerts: the smoothed score of a car went over the threshold, and has not come back yet."""

from dataclasses import dataclass

import numpy as np

from contract.alert_rule import AlertRule, advance
from contract.telemetry import Floats
from scorer.cars import Cars, Mask, Places


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

    def advance(self, cars: Places, shares: Floats, rule: AlertRule) -> tuple[Mask, Mask]:
        """Which of n different cars' alerts open, and which close, with one more score each, (n,).

        shares: the scores as shares of the threshold. What opens must be told by `open`.
        """
        level, is_open, opened, closed = advance(
            self.level.values[cars], self._is_open.values[cars], shares, threshold=1.0, rule=rule
        )
        self.level.values[cars] = level
        self._is_open.values[cars] = is_open
        return opened, closed

    def open(self, car: int, alert: Alert) -> None:
        """The alert of a car; also one that is read back."""
        self._is_open.values[car] = True
        self._open[self._cars.ids[car]] = alert

    def close(self, car: int) -> Alert:
        """The alert of a car, which is over."""
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
