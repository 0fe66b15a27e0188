"""From scores to alerts, for all detectors by the one rule, and the threshold for a budget of false alarms.

Arrays of scores and levels are (cars, samples) float32. A level is the smoothed score; an alert opens where
the level rises above the threshold and closes where it falls below a share of it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from contract.alert_rule import AlertRule
from contract.telemetry import Floats

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
        share = np.float32(rule.smoothing)
        judged = score[:, from_sample:]
        return cls(lfilter([share], [1, share - 1], judged, axis=1), from_sample, interval_s, rule)

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

    def false_alarms_per_car_week(self, threshold: float) -> float:
        """Openings per car-week; all of these cars are healthy."""
        return len(self.openings(threshold)[0]) / self.car_weeks

    def threshold(self, false_alarms_per_car_week: float) -> float:
        """The lowest threshold that keeps the budget on these healthy cars."""
        allowed = false_alarms_per_car_week * self.car_weeks
        low, high = 0.0, float(self.level.max())
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            if len(self.openings(middle)[0]) <= allowed:
                high = middle
            else:
                low = middle
        return high
