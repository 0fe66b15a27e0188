"""Alerts: the smoothed score of a car went over the threshold, and has not come back yet."""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.alert_rule import AlertRule, advance
from contract.evidence import AT_THRESHOLD, LEVELS
from contract.telemetry import Floats
from scorer.cars import CarTable, Mask, Rounds
from scorer.evidence import Crossings
from scorer.index import CarNumbers

_LEVELS = np.array(LEVELS, np.float32)


Numbers = NDArray[np.intp]

# The level above which a car with 0, 1, … crossed levels crosses the next one.
_RISES = np.array([*LEVELS, np.inf], np.float32)


@cache
def _falls(close_ratio: float) -> Floats:
    """The level below which a car with 0, 1, … crossed levels is under the last of them again."""
    return np.array([-np.inf, *(close_ratio * level for level in LEVELS)], np.float32)


def _bounds(level: Floats, falls: Floats) -> tuple[Numbers, Numbers]:
    """(n,) how many of LEVELS are crossed at these levels (n,) whatever was before, and how many can be."""
    return np.searchsorted(_LEVELS, level, side="left"), np.searchsorted(falls[1:], level, side="right")


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


class Advanced(NamedTuple):
    """The alerts after m more scores."""

    levels: Floats  # (m,) as shares of the threshold
    changes: list[tuple[int, bool]]  # which of the m opens (True) or closes an alert
    crossings: Crossings


class Alerts:
    """The levels (smoothed scores) of all cars as shares of the threshold, and the open alerts."""

    def __init__(self, cars: CarTable) -> None:
        self._cars = cars
        self.level = cars.column(0, np.float32)
        self.is_open = cars.column(False, np.bool_)
        # How many of LEVELS, multiples of the threshold, a car's level is over, each with its hysteresis.
        self.crossed = cars.column(0, np.int8)
        self._open = cars.column(None, object)  # each car's open alert; None: none

    def __len__(self) -> int:
        """The number of open alerts."""
        return int(np.count_nonzero(self.is_open.values))

    def advance(self, rounds: Rounds, shares: Floats, rule: AlertRule) -> Advanced:
        """Take in m scores, as shares (m,) of the threshold.

        The caller must pass the changes, in their order, to `open` and `close`.
        """
        level, is_open = self.level.values, self.is_open.values
        falls = _falls(rule.close_ratio)
        levels, changes = np.empty_like(shares), list[tuple[int, bool]]()
        crossings = list[Crossings]()
        for span in rounds.spans:
            cars = rounds.cars[span]
            levels[span], is_open[cars], opened, closed = advance(
                level.take(cars), is_open.take(cars), shares[span], threshold=1.0, rule=rule
            )
            level[cars] = levels[span]
            changed = np.flatnonzero(opened | closed)
            changes += zip((span.start + changed).tolist(), opened[changed].tolist(), strict=True)
            self._cross(cars, levels[span], falls, crossings)
        return Advanced(levels, changes, Crossings.joined(crossings))

    def _cross(self, cars: CarNumbers, level: Floats, falls: Floats, found: list[Crossings]) -> None:
        """Note which multiples of the threshold n different cars are over, and append what they crossed.

        The open ones of a car are always the lowest: a level over one of them is over all below it.
        """
        before = self.crossed.values.take(cars)
        rows = np.flatnonzero((level > _RISES.take(before)) | (level < falls.take(before)))
        if len(rows):
            cars, level, before = cars[rows], level[rows], before[rows]
            after = np.clip(before, *_bounds(level, falls))
            self.crossed.values[cars] = after
            rose = np.flatnonzero(after > before)
            if len(rose):
                found.append(Crossings(cars[rose], before[rose], after[rose]))

    def restore(self, cars: CarNumbers, level: Floats, is_open: Mask) -> None:
        """Take in levels that were read back; alerts that are open must be passed to `open`.

        Which multiples were open is known for the threshold alone; of the others, those below the level.
        """
        self.level.values[cars] = level
        over = np.searchsorted(_LEVELS, level, side="left")
        open_ones, closed_ones = np.maximum(over, AT_THRESHOLD + 1), np.minimum(over, AT_THRESHOLD)
        self.crossed.values[cars] = np.where(is_open, open_ones, closed_ones)

    @property
    def open_levels(self) -> int:
        """The number of cars whose level is over the threshold, by the alert rule."""
        return int(np.count_nonzero(self.crossed.values[: len(self._cars)] > AT_THRESHOLD))

    def adopt(self, cars: CarNumbers, other: "Alerts", scale: float, rule: AlertRule) -> None:
        """Go on with the levels of these cars in another table, multiplied; alerts stay as they are here."""
        level = other.level.values[cars] * np.float32(scale)
        self.level.values[cars] = level
        over, stay = _bounds(level, _falls(rule.close_ratio))
        self.crossed.values[cars] = np.clip(other.crossed.values[cars], over, stay)

    def exchange(self, cars: CarNumbers, other: "Alerts") -> None:
        """Exchange the open alerts of these cars with another table, not the levels."""
        for mine, theirs in ((self.is_open, other.is_open), (self._open, other._open)):
            mine.values[cars], theirs.values[cars] = theirs.values[cars], mine.values[cars]

    def drop(self) -> None:
        """Free the arrays."""
        for column in (self.level, self.is_open, self.crossed, self._open):
            self._cars.drop(column)

    def open(self, car: int, alert: Alert) -> None:
        """Store a car's alert, opened now or read back."""
        self.is_open.values[car] = True
        self._open.values[car] = alert

    def close(self, car: int) -> Alert:
        """Close a car's alert and return it."""
        self.is_open.values[car] = False
        alert, self._open.values[car] = self._open.values[car], None
        return alert  # type: ignore[no-any-return]

    def get(self, car: int) -> Alert | None:
        """The open alert of a car."""
        return self._open.values[car] if self.is_open.values[car] else None
