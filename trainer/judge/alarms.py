"""Alerts in replayed scores, by the scorers' own rule, and the threshold for a budget of false ones.

Arrays are (N,), rows by car and time. A level is the smoothed score; an alert opens where it rises above the
threshold and closes where it falls below a share of it.
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
from trainer.model.robust import Cars

WEEK_S = 168 * 3600.0  # of telemetry
# From so many openings on they are counted; where the budget allows fewer, the tail is extrapolated.
_COUNTED_MIN = 20
_GRID_QUANTILES, _GRID_BEYOND = 160, 64
_GRID_REACH = 4.0  # times the highest level of the healthy cars
# Fits the tail: its root of the level is about normal (Wilson and Hilferty: the cube root of a square).
_TAIL_POWER = 2 / 3
_TAIL_QUANTILES = (0.5, 0.99)
_NORMAL = NormalDist()
# No number is above it. Where healthy cars have scores that are none, it may be that no threshold is enough.
_NEVER = float(np.finfo(np.float32).max) / 4


@dataclass(frozen=True)
class Levels:
    """The smoothed scores (N,). A score that is no number counts in thresholds: `at` one, levels are known.

    `known` (N,): of the numbers. `unknown` (N,): what the others add, in thresholds; None without others.
    """

    known: Floats
    unknown: Floats | None = None

    def __len__(self) -> int:
        return len(self.known)

    def __getitem__(self, rows: Any) -> "Levels":
        return Levels(self.known[rows], None if self.unknown is None else self.unknown[rows])

    def at(self, threshold: float) -> Floats:
        """(N,) where the threshold is this."""
        return self.known if self.unknown is None else self.known + np.float32(threshold) * self.unknown


def levels(score: Floats, car: Cars, rule: AlertRule) -> Levels:
    """Of scores (N,), each car from 0 on."""
    score = score.astype(np.float32)
    finite = np.isfinite(score)
    if finite.all():
        return Levels(_smoothed(score, car, rule))
    # The rule is linear: the one part is 0 where the other is not, and a number in thresholds of 1.
    numbers, others = np.where(finite, score, np.float32(0)), np.where(finite, np.float32(0), np.nan)
    return Levels(_smoothed(numbers, car, rule), _smoothed(others.astype(np.float32), car, rule))


def _smoothed(score: Floats, car: Cars, rule: AlertRule) -> Floats:
    """(N,) levels by the scorers' rule, for a threshold of 1."""
    if rule.smoothing == 1:  # a row's level is its own score's
        return alert_rule.follow(np.zeros_like(score), score, threshold=1.0, rule=rule)
    level, now = np.empty_like(score), np.zeros(len(runs(car)[0]), np.float32)
    for rows, who in in_step(car):
        level[rows] = now[who] = alert_rule.follow(now[who], score[rows], threshold=1.0, rule=rule)
    return level


def openings(levels: Levels, car: Cars, threshold: float, rule: AlertRule) -> NDArray[np.intp]:
    """Rows at which an alert opens, ascending."""
    level = levels.at(threshold)
    above = level > threshold
    if not above.any():
        return np.empty(0, np.intp)
    first = np.diff(car, prepend=-1) != 0
    decided = above | (level < rule.close_ratio * threshold) | first
    last = np.maximum.accumulate(np.where(decided, np.arange(len(level)), 0))
    is_open = above[last]  # between the two limits, what was decided last holds
    before = np.concatenate([[False], is_open[:-1]]) & ~first
    return np.flatnonzero(is_open & ~before)


def car_weeks(rows: int, interval_s: float) -> float:
    """Of telemetry in so many rows."""
    return rows * interval_s / WEEK_S


@dataclass(frozen=True)
class Healthy:
    """How often healthy cars raise an alert at each threshold of a grid.

    grid (g,) ascending; opened (cars, g): openings of each car; weeks (cars,) of its telemetry.
    `middle` and `deviation` are those of the root of the level.
    """

    grid: NDArray[np.float64]
    opened: NDArray[np.int32]
    weeks: NDArray[np.float64]
    middle: float
    deviation: float

    def thresholds(self, budget: float, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """(b,) thresholds at which healthy cars raise `budget` alerts a car-week; weights (b, cars), or one.

        Where so few alerts are allowed that they cannot be counted, the rate falls from the last threshold
        at which they can as a Gaussian process crosses a level (Rice 1945), in the root of the level. Where
        scores that are no numbers raise more at any threshold, it is one that no number reaches.
        """
        weights = np.ones((1, len(self.weeks))) if weights is None else weights
        counted, weeks = weights @ self.opened, weights @ self.weeks
        found = np.empty(len(weights))
        for row, (counts, allowed) in enumerate(zip(counted, budget * weeks, strict=True)):
            if counts[-1] > allowed:  # far above every number
                found[row] = _NEVER
                continue
            enough = counts > max(allowed, min(_COUNTED_MIN, counts.max() / 2))
            place = len(enough) - 1 - int(np.argmax(enough[::-1])) if enough.any() else 0
            if counts[place] <= allowed or allowed >= _COUNTED_MIN:
                found[row] = self.grid[min(place + 1, len(self.grid) - 1)]
                continue
            off = self.grid[place] ** _TAIL_POWER - self.middle
            steeper = 2 * self.deviation**2 * np.log(counts[place] / allowed)
            found[row] = (self.middle + np.sqrt(max(off, 0) ** 2 + steeper)) ** (1 / _TAIL_POWER)
        return found


def healthy(levels: Levels, car: Cars, rule: AlertRule, interval_s: float) -> Healthy:
    """Of cars that should raise no alert; cars that stand out far from the others are left out.

    Thresholds are looked for where the scores are that are numbers: the others need none of their own.
    """
    trusted = ~robust.suspects(levels.known, car)
    levels, car = levels[trusted], car[trusted]
    level = levels.known
    _, place = np.unique(car, return_inverse=True)
    quantiles = 1 - np.geomspace(0.5, 0.5 / max(2, len(level)), _GRID_QUANTILES)
    top = float(level.max())
    beyond = np.geomspace(max(top, 1e-6), max(_GRID_REACH * top, 1e-5), _GRID_BEYOND)
    grid = np.unique(np.concatenate([np.quantile(level, quantiles), beyond]).astype(np.float64))
    opened = np.zeros((int(place.max()) + 1, len(grid)), np.int32)
    for column, threshold in enumerate(grid):
        np.add.at(opened[:, column], place[openings(levels, car, float(threshold), rule)], 1)
    root = level.astype(np.float64) ** _TAIL_POWER
    middle, high = np.quantile(root, _TAIL_QUANTILES)
    weeks = np.bincount(place).astype(np.float64) * car_weeks(1, interval_s)
    return Healthy(
        grid,
        opened,
        weeks,
        float(middle),
        float(max(high - middle, 1e-9) / _NORMAL.inv_cdf(_TAIL_QUANTILES[1])),
    )
