"""Alerts: the smoothed score of a car went over the threshold, and has not come back yet."""

from dataclasses import dataclass

import numpy as np

from contract.alert_rule import AlertRule, advance
from contract.telemetry import Floats
from scorer.cars import CarTable, Rounds


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
        self.is_open = cars.column(False, np.bool_)
        self._last = cars.column(None, object)  # each car's last alert, open or closed

    def __len__(self) -> int:
        """The number of open alerts."""
        return int(np.count_nonzero(self.is_open.values))

    def advance(
        self, rounds: Rounds, shares: Floats, rule: AlertRule
    ) -> tuple[Floats, list[tuple[int, bool]]]:
        """(levels (m,) after each of m scores, the changes: which of the m opens (True) or closes an alert).

        shares (m,): the scores as shares of the threshold. The caller must pass the changes, in their order,
        to `open` and `close`.
        """
        level, is_open = self.level.values, self.is_open.values
        levels, changes = np.empty_like(shares), list[tuple[int, bool]]()
        for span in rounds.spans:
            cars = rounds.cars[span]
            levels[span], is_open[cars], opened, closed = advance(
                level.take(cars), is_open.take(cars), shares[span], threshold=1.0, rule=rule
            )
            level[cars] = levels[span]
            changed = np.flatnonzero(opened | closed)
            changes += zip((span.start + changed).tolist(), opened[changed].tolist(), strict=True)
        return levels, changes

    def open(self, car: int, alert: Alert) -> None:
        """Store a car's alert, opened now or read back."""
        self.is_open.values[car] = True
        self._last.values[car] = alert

    def close(self, car: int) -> Alert:
        """Close a car's alert and return it."""
        self.is_open.values[car] = False
        return self._last.values[car]  # type: ignore[no-any-return]

    def get(self, car: int) -> Alert | None:
        """The open alert of a car."""
        return self._last.values[car] if self.is_open.values[car] else None
