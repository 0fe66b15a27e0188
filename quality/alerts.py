"""From scores to alerts, for all detectors by the one rule, and the threshold for a budget of false alarms.

Arrays of scores and levels are (cars, samples) float32. A level is the smoothed score; an alert opens where
the level rises above the threshold and closes where it falls below a share of it.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.alert_rule import AlertRule
from contract.telemetry import Floats
from quality.smoothing import smoothed
from trainer.judge.alarms import car_weeks
from trainer.model import robust

Seconds = NDArray[np.floating[Any]]
_SUSPECT_SAMPLES = 1000  # of each car, to judge whether it stands out


@dataclass(frozen=True)
class Levels:
    """The levels of a part's cars from `from_sample` on; before it nobody is asked."""

    level: Floats
    highest: Floats  # (cars,) of each car
    from_sample: int
    interval_s: float
    rule: AlertRule

    @classmethod
    def of(cls, score: Floats, from_sample: int, interval_s: float, rule: AlertRule) -> "Levels":
        """Raises ValueError where a score is no finite number."""
        if not np.isfinite(score).all():
            raise ValueError("a score is no finite number")
        level = np.ascontiguousarray(smoothed(score[:, from_sample:], rule.smoothing))
        return cls(level, level.max(axis=1), from_sample, interval_s, rule)

    def trusted(self) -> "Levels":
        """Without the cars that stand out from the others, as the trainer leaves them out: maybe faulty."""
        few = self.level[:, :: max(1, self.level.shape[1] // _SUSPECT_SAMPLES)]
        car = np.repeat(np.arange(len(few)), few.shape[1])
        sound = ~robust.suspects(few.ravel(), car).reshape(few.shape)[:, 0]
        return replace(self, level=self.level[sound], highest=self.highest[sound])

    @property
    def car_weeks(self) -> float:
        """Of telemetry that is judged."""
        return car_weeks(self.level.size, self.interval_s)

    def openings(self, threshold: float) -> tuple[NDArray[np.intp], Seconds]:
        """(car, second of its telemetry) of every alert that opens, by car and time."""
        rows = np.flatnonzero(self.highest > threshold)
        level = self.level[rows]
        rises = _begins(level > threshold)
        falls = _begins(level < self.rule.close_ratio * threshold)
        # A rise opens an alert if it is the car's first, or the level fell far enough since the one before.
        row, sample = np.divmod(rises, level.shape[1])
        fallen = np.searchsorted(falls, rises)
        opens = np.ones(len(rises), bool)
        opens[1:] = (fallen[1:] > fallen[:-1]) | (row[1:] != row[:-1])
        at_s: Seconds = (sample[opens] + self.from_sample + 1) * self.interval_s
        return rows[row[opens]], at_s

    def false_alarms_per_car_week(self, threshold: float, since_s: float = 0.0) -> float:
        """Openings per car-week after `since_s`; all of these cars are healthy."""
        _, at_s = self.openings(threshold)
        begun_s = self.from_sample * self.interval_s
        whole_s = self.level.shape[1] * self.interval_s
        counted = 1 - max(0.0, since_s - begun_s) / whole_s
        return float(np.count_nonzero(at_s > since_s) / (counted * self.car_weeks))

    def threshold(self, false_alarms_per_car_week: float) -> float:
        """The lowest threshold that keeps the budget on these healthy cars.

        Looked for among the highest levels of each car's hours: nobody wants an alarm an hour.
        """
        allowed = false_alarms_per_car_week * self.car_weeks + 1e-6
        per_hour = max(1, round(3600 / self.interval_s))
        hours = np.arange(0, self.level.shape[1], per_hour)
        candidates = np.unique(np.maximum.reduceat(self.level, hours, axis=1))
        low, high = -1, len(candidates) - 1
        while high - low > 1:
            middle = (low + high) // 2
            if len(self.openings(float(candidates[middle]))[0]) <= allowed:
                high = middle
            else:
                low = middle
        return float(candidates[high])


def _begins(event: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Flat places in (cars, samples) where an event begins that was not there a sample before."""
    begins = event.copy()
    begins[:, 1:] &= ~event[:, :-1]
    return np.flatnonzero(begins)
