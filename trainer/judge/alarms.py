"""Alerts in replayed scores, by the scorers' rule (contract/alert_rule.py), and thresholds for a budget.

Arrays are (N,), rows ordered by car and time. A level is the smoothed score; an alert opens where the level
rises above the threshold and closes where it falls below a share of it (hysteresis).
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract import alert_rule
from contract.alert_rule import AlertRule
from contract.telemetry import Floats
from trainer.model import robust
from trainer.model.replay import in_step, runs
from trainer.model.robust import CarNumbers

WEEK_S = 168 * 3600.0  # of telemetry
# With at least this many openings the threshold is read from counts; with fewer the tail is extrapolated.
_COUNTED_MIN = 20
_GRID_QUANTILES, _GRID_BEYOND = 160, 64  # thresholds tried: quantiles of the levels, some above all levels
_GRID_REACH = 4.0  # the highest threshold tried, in times the highest level of the healthy cars
# For fitting the tail: this power of the level is about normal (Wilson and Hilferty 1931: the cube root of a
# sum of squares, and the level is the root of one).
_TAIL_POWER = 2 / 3
_TAIL_QUANTILES = (0.5, 0.99)
# A threshold above every finite level, for cars whose NaN scores alone use up the budget.
_NEVER = float(np.finfo(np.float32).max) / 4


@dataclass(frozen=True)
class Levels:
    """Smoothed scores of N rows for any threshold: a NaN score counts in thresholds, so they depend on it."""

    finite: Floats  # (N,) levels with every NaN or infinite score counted as 0
    from_nan: Floats | None = None  # (N,) what these scores add, in thresholds; None where all are finite

    def __len__(self) -> int:
        return len(self.finite)

    def __getitem__(self, rows: Any) -> "Levels":
        return Levels(self.finite[rows], None if self.from_nan is None else self.from_nan[rows])

    def at(self, threshold: float) -> Floats:
        """(N,) the levels under this threshold."""
        return self.finite if self.from_nan is None else self.finite + np.float32(threshold) * self.from_nan


def levels(score: Floats, car: CarNumbers, rule: AlertRule) -> Levels:
    """The levels of scores (N,); every car starts at level 0."""
    score = score.astype(np.float32)
    finite = np.isfinite(score)
    if finite.all():
        return Levels(_smoothed(score, car, rule))
    # The smoothing is linear, so the finite scores and the others (at threshold 1) go apart.
    numbers, others = np.where(finite, score, np.float32(0)), np.where(finite, np.float32(0), np.nan)
    return Levels(_smoothed(numbers, car, rule), _smoothed(others.astype(np.float32), car, rule))


def _smoothed(score: Floats, car: CarNumbers, rule: AlertRule) -> Floats:
    """(N,) levels for a threshold of 1."""
    if rule.smoothing == 1:  # the level is the score: no need to go through time
        return alert_rule.follow(np.zeros_like(score), score, threshold=1.0, rule=rule)
    level, now = np.empty_like(score), np.zeros(len(runs(car)[0]), np.float32)
    for rows, cars in in_step(car):
        level[rows] = now[cars] = alert_rule.follow(now[cars], score[rows], threshold=1.0, rule=rule)
    return level


def openings(levels: Levels, car: CarNumbers, threshold: float, rule: AlertRule) -> NDArray[np.intp]:
    """Rows at which an alert opens, ascending: `alert_rule.judge` over all rows at once."""
    level = levels.at(threshold)
    rises = _begins(level > threshold, car)
    falls = _begins(level < rule.close_ratio * threshold, car)
    # A rise opens an alert if it is the car's first, or if the level fell far enough since the rise before.
    falls_before = np.searchsorted(falls, rises)
    opens = np.ones(len(rises), bool)
    opens[1:] = (np.diff(falls_before) > 0) | (np.diff(car[rises]) != 0)
    return rises[opens]


def _begins(condition: NDArray[np.bool_], car: CarNumbers) -> NDArray[np.intp]:
    """Rows (N,) where the condition holds and did not hold in the car's row before."""
    begins = condition.copy()
    begins[1:] &= ~condition[:-1] | (car[1:] != car[:-1])
    return np.flatnonzero(begins)


def car_weeks(rows: int, interval_s: float) -> float:
    """Weeks of telemetry in so many rows that are `interval_s` apart."""
    return rows * interval_s / WEEK_S


@dataclass(frozen=True)
class HealthyAlerts:
    """How often healthy cars raise an alert, at each threshold of a grid."""

    grid: NDArray[np.float64]  # (g,) thresholds, ascending
    opened: NDArray[np.int32]  # (cars, g) alerts of each car at each threshold
    weeks: NDArray[np.float64]  # (cars,) of telemetry
    middle: float  # median of the levels' power _TAIL_POWER
    deviation: float  # its standard deviation, from its upper quantiles

    def thresholds(self, budget: float, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """(b,) thresholds at which healthy cars raise `budget` alerts a car-week.

        `weights` (b, cars): how often each car counts, for each of the b thresholds; None: one threshold,
        each car once. Where the budget allows too few alerts to count them, the rate falls from the last
        countable threshold on as the rate at which a Gaussian process crosses a level (Rice 1945). Where NaN
        scores alone raise more alerts than allowed, the threshold is one that no finite level reaches.
        """
        weights = np.ones((1, len(self.weeks))) if weights is None else weights
        counted, weeks = weights @ self.opened, weights @ self.weeks
        chosen = np.empty(len(weights))
        for row, (counts, allowed) in enumerate(zip(counted, budget * weeks, strict=True)):
            if counts[-1] > allowed:
                chosen[row] = _NEVER
                continue
            enough = counts > max(allowed, min(_COUNTED_MIN, counts.max() / 2))
            last = len(enough) - 1 - int(np.argmax(enough[::-1])) if enough.any() else 0
            if counts[last] <= allowed or allowed >= _COUNTED_MIN:
                chosen[row] = self.grid[min(last + 1, len(self.grid) - 1)]
                continue
            distance = self.grid[last] ** _TAIL_POWER - self.middle
            further = 2 * self.deviation**2 * np.log(counts[last] / allowed)
            chosen[row] = (self.middle + np.sqrt(max(distance, 0) ** 2 + further)) ** (1 / _TAIL_POWER)
        return chosen


def healthy_alerts(levels: Levels, car: CarNumbers, rule: AlertRule, interval_s: float) -> HealthyAlerts:
    """Count the alerts of cars that should raise none; cars that stand out far from the others are left out.

    The grid spans the finite levels: what NaN scores add grows with the threshold itself.
    """
    trusted = ~robust.suspects(levels.finite, car)
    levels, car = levels[trusted], car[trusted]
    level = levels.finite
    _, number = np.unique(car, return_inverse=True)
    quantiles = 1 - np.geomspace(0.5, 0.5 / max(2, len(level)), _GRID_QUANTILES)
    top = float(level.max())
    beyond = np.geomspace(max(top, 1e-6), max(_GRID_REACH * top, 1e-5), _GRID_BEYOND)
    grid = np.unique(np.concatenate([np.quantile(level, quantiles), beyond]).astype(np.float64))
    opened = np.zeros((int(number.max()) + 1, len(grid)), np.int32)
    for column, threshold in enumerate(grid):
        np.add.at(opened[:, column], number[openings(levels, car, float(threshold), rule)], 1)
    middle, high = np.quantile(level.astype(np.float64) ** _TAIL_POWER, _TAIL_QUANTILES)
    weeks = np.bincount(number).astype(np.float64) * car_weeks(1, interval_s)
    deviation = max(high - middle, 1e-9) / NormalDist().inv_cdf(_TAIL_QUANTILES[1])
    return HealthyAlerts(grid, opened, weeks, float(middle), float(deviation))
