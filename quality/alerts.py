"""From scores to alerts, for all detectors by the one rule, and the threshold for a budget of false alarms.

Arrays of scores and levels are (cars, samples) float32. A level is the smoothed score; an alert opens where
the level rises above the threshold and closes where it falls below a share of it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.alert_rule import AlertRule
from contract.telemetry import Floats
from quality.smoothing import smoothed

Seconds = NDArray[np.floating[Any]]
WEEK_S = 168 * 3600.0
_BISECTIONS = 40


@dataclass(frozen=True)
class Levels:
    """The levels of a part's cars from `from_sample` on; before it nobody is asked."""

    level: Floats
    from_sample: int
    interval_s: float
    rule: AlertRule

    @classmethod
    def of(cls, score: Floats, from_sample: int, interval_s: float, rule: AlertRule) -> "Levels":
        """Raises ValueError where a score is no finite number."""
        if not np.isfinite(score).all():
            raise ValueError("a score is no finite number")
        level = np.ascontiguousarray(smoothed(score[:, from_sample:], rule.smoothing))
        return cls(level, from_sample, interval_s, rule)

    @property
    def car_weeks(self) -> float:
        """Of telemetry that is judged."""
        return self.level.size * self.interval_s / WEEK_S

    def openings(self, threshold: float) -> tuple[NDArray[np.intp], Seconds]:
        """(car, second of its telemetry) of every alert that opens, by car and time."""
        rows = np.flatnonzero(self.level.max(axis=1, initial=-np.inf) > threshold)
        level = self.level[rows]
        event = (level > threshold).astype(np.int8) - (level < self.rule.close_ratio * threshold)
        last = np.where(event != 0, np.arange(level.shape[1], dtype=np.int32), 0)
        np.maximum.accumulate(last, axis=1, out=last)
        is_open = np.take_along_axis(event, last, axis=1) > 0
        opens = is_open.copy()
        opens[:, 1:] &= ~is_open[:, :-1]
        row, sample = np.nonzero(opens)
        at_s: Seconds = (sample + self.from_sample + 1) * self.interval_s
        return rows[row], at_s

    def false_alarms_per_car_week(self, threshold: float, since_s: float = 0.0) -> float:
        """Openings per car-week after `since_s`; all of these cars are healthy."""
        _, at_s = self.openings(threshold)
        begun_s = self.from_sample * self.interval_s
        whole_s = self.level.shape[1] * self.interval_s
        counted = 1 - max(0.0, since_s - begun_s) / whole_s
        return float(np.count_nonzero(at_s > since_s) / (counted * self.car_weeks))

    def threshold(self, false_alarms_per_car_week: float) -> float:
        """The lowest threshold that keeps the budget on these healthy cars."""
        allowed = false_alarms_per_car_week * self.car_weeks + 1e-6
        low, high = 0.0, float(self.level.max())
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            if len(self.openings(middle)[0]) <= allowed:
                high = middle
            else:
                low = middle
        return float(np.float32(high))
