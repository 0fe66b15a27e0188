"""Alerts in replayed scores, by the scorers' own rule, and the threshold for a budget of false ones.

Arrays are (N,), rows by car and time. A level is the smoothed score; an alert opens where it rises above the
threshold and closes where it falls below a share of it.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from contract.alert_rule import AlertRule
from contract.telemetry import Floats
from trainer import robust
from trainer.replay import runs
from trainer.robust import Cars

WEEK_S = 168 * 3600.0  # of telemetry
# From so many openings on they are counted; where the budget allows fewer, the tail is extrapolated.
_COUNTED_MIN = 20
_GRID_QUANTILES, _GRID_BEYOND = 160, 64
_GRID_REACH = 4.0  # times the highest level of the healthy cars
# Fits the tail: its root of the level is about normal (Wilson and Hilferty: the cube root of a square).
_TAIL_POWER = 2 / 3
_TAIL_QUANTILES = (0.5, 0.99)
_NORMAL = NormalDist()


def levels(score: Floats, car: Cars, rule: AlertRule) -> Floats:
    """(N,) smoothed scores, each car from 0 on; what is not finite is the highest number there is."""
    score = np.nan_to_num(score, nan=np.inf, posinf=np.inf)
    level = np.minimum(score, np.finfo(np.float32).max / 4).astype(np.float32)
    if rule.smoothing == 1:
        return level
    starts, lengths = runs(car)
    order = np.argsort(-lengths, kind="stable")
    starts, lengths = starts[order], lengths[order]
    now = np.zeros(len(starts), np.float32)
    for sample in range(int(lengths.max(initial=0))):
        rows = starts[: np.searchsorted(-lengths, -sample)] + sample
        now[: len(rows)] += np.float32(rule.smoothing) * (level[rows] - now[: len(rows)])
        level[rows] = now[: len(rows)]
    return level


def openings(level: Floats, car: Cars, threshold: float, rule: AlertRule) -> NDArray[np.intp]:
    """Rows at which an alert opens, ascending."""
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
        at which they can as a Gaussian process crosses a level (Rice 1945), in the root of the level.
        """
        weights = np.ones((1, len(self.weeks))) if weights is None else weights
        counted, weeks = weights @ self.opened, weights @ self.weeks
        found = np.empty(len(weights))
        for row, (counts, allowed) in enumerate(zip(counted, budget * weeks, strict=True)):
            enough = counts > max(allowed, min(_COUNTED_MIN, counts.max() / 2))
            place = len(enough) - 1 - int(np.argmax(enough[::-1])) if enough.any() else 0
            if counts[place] <= allowed or allowed >= _COUNTED_MIN:
                found[row] = self.grid[min(place + 1, len(self.grid) - 1)]
                continue
            off = self.grid[place] ** _TAIL_POWER - self.middle
            steeper = 2 * self.deviation**2 * np.log(counts[place] / allowed)
            found[row] = (self.middle + np.sqrt(max(off, 0) ** 2 + steeper)) ** (1 / _TAIL_POWER)
        return found


def healthy(level: Floats, car: Cars, rule: AlertRule, interval_s: float) -> Healthy:
    """Of cars that should raise no alert; cars that stand out far from the others are left out."""
    trusted = ~robust.suspects(level, car)
    level, car = level[trusted], car[trusted]
    _, place = np.unique(car, return_inverse=True)
    quantiles = 1 - np.geomspace(0.5, 0.5 / max(2, len(level)), _GRID_QUANTILES)
    top = float(level.max())
    beyond = np.geomspace(max(top, 1e-6), max(_GRID_REACH * top, 1e-5), _GRID_BEYOND)
    grid = np.unique(np.concatenate([np.quantile(level, quantiles), beyond]).astype(np.float64))
    opened = np.zeros((int(place.max()) + 1, len(grid)), np.int32)
    for column, threshold in enumerate(grid):
        np.add.at(opened[:, column], place[openings(level, car, float(threshold), rule)], 1)
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
