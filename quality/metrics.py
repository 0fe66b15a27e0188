"""The figures of one detector on one fleet: alerts, failures foreseen, false alarms, components named.

Arrays of scores and levels are (cars, samples) float32; trainer/judge/alarms.py finds the alerts in them.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.alert_rule import AlertRule
from contract.telemetry import Floats
from quality.ground import Failure
from trainer.judge import alarms
from trainer.model import robust

Seconds = NDArray[np.floating[Any]]
BUDGETS = (0.1, 1.0)  # false alarms per car-week that the tables show
CURVE = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
OTHER_WHEEL = "other wheel"
_SUSPECT_SAMPLES = 1000  # per car are enough to see whether it stands out


@dataclass(frozen=True)
class FleetLevels:
    """The smoothed scores of cars that are all watched for the same time."""

    level: Floats  # (cars, samples), from `from_sample` on
    highest: Floats  # (cars,) the highest level of each car
    from_sample: int  # samples before it are not judged: the car is being learned
    interval_s: float  # between two samples
    rule: AlertRule

    @classmethod
    def of(cls, score: Floats, from_sample: int, interval_s: float, rule: AlertRule) -> "FleetLevels":
        """The levels of scores (cars, samples). Raises ValueError where a score is not finite."""
        if not np.isfinite(score).all():
            raise ValueError("a score is not finite")
        judged = score[:, from_sample:]
        level = alarms.levels(judged.ravel(), _car_numbers(judged), rule).finite.reshape(judged.shape)
        return cls(level, level.max(axis=1), from_sample, interval_s, rule)

    def trusted(self) -> "FleetLevels":
        """Without the cars that stand out from the others and may be faulty, as in the trainer."""
        few = self.level[:, :: max(1, self.level.shape[1] // _SUSPECT_SAMPLES)]
        sound = ~robust.suspects(few.ravel(), _car_numbers(few)).reshape(few.shape)[:, 0]
        return replace(self, level=self.level[sound], highest=self.highest[sound])

    @property
    def car_weeks(self) -> float:
        """Car-weeks of telemetry that are judged."""
        return alarms.car_weeks(self.level.size, self.interval_s)

    def openings(self, threshold: float) -> tuple[NDArray[np.intp], Seconds]:
        """(car, second of its telemetry) of every alert that opens, by car and time."""
        cars = np.flatnonzero(self.highest > threshold)  # the others cannot have one
        level = self.level[cars]
        opened = alarms.openings(alarms.Levels(level.ravel()), _car_numbers(level), threshold, self.rule)
        row, sample = np.divmod(opened, level.shape[1])
        at_s: Seconds = (sample + self.from_sample + 1) * self.interval_s
        return cars[row], at_s

    def leads_h(self, threshold: float, failures: Sequence[Failure]) -> NDArray[np.float64]:
        """(failures,) hours from the first alert after the onset to the failure; NaN: not foreseen."""
        car, at_s = self.openings(threshold)
        leads = np.full(len(failures), np.nan)
        for i, failure in enumerate(failures):
            own = at_s[car == failure.car]
            hits = own[(own > failure.onset_s) & (own < failure.failed_s)]
            if hits.size:
                leads[i] = (failure.failed_s - hits[0]) / 3600
        return leads

    def false_alarms_per_car_week(self, threshold: float, since_s: float = 0.0) -> float:
        """Openings per car-week after `since_s`; all of these cars are healthy."""
        _, at_s = self.openings(threshold)
        begun_s = self.from_sample * self.interval_s
        whole_s = self.level.shape[1] * self.interval_s
        counted = 1 - max(0.0, since_s - begun_s) / whole_s
        return float(np.count_nonzero(at_s > since_s) / (counted * self.car_weeks))

    def threshold(self, false_alarms_per_car_week: float) -> float:
        """The lowest threshold that keeps the budget on these healthy cars.

        The candidates are the highest levels of each car's hours: nobody wants an alarm an hour.
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


def _car_numbers(values: Floats) -> NDArray[np.int32]:
    """(cars * samples,) the car of each value of (cars, samples)."""
    cars, samples = values.shape
    return np.repeat(np.arange(cars, dtype=np.int32), samples)


@dataclass(frozen=True)
class Foresight:
    """The result of one threshold."""

    threshold: float
    false_alarms_per_car_week: Mapping[str, float]  # on healthy test cars, and during each change
    lead_h: NDArray[np.float64]  # (failures,) hours from the first alert to the failure; NaN: not foreseen
    # The same of the failures that happen in each change (Ground.failures_in); empty where not tested.
    lead_h_in: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


def grown_samples(
    shape: tuple[int, int], failures: Sequence[Failure], interval_s: float
) -> NDArray[np.bool_]:
    """(cars, samples) mask: whether a sample lies between a fault's onset and its failure."""
    grown = np.zeros(shape, bool)
    for failure in failures:
        start, stop = (int(at / interval_s) for at in (failure.onset_s, failure.failed_s))
        grown[failure.car, max(start, 0) : max(stop, 0)] = True
    return grown


def summary(lead_h: NDArray[np.float64]) -> dict[str, float | None]:
    """Recall, and median and 10 % quantile of the lead times in hours; None where there are none."""
    foreseen = lead_h[~np.isnan(lead_h)]
    return {
        "recall": len(foreseen) / len(lead_h) if len(lead_h) else None,
        "median_lead_h": float(np.median(foreseen)) if len(foreseen) else None,
        "p10_lead_h": float(np.quantile(foreseen, 0.1)) if len(foreseen) else None,
    }


def without_wheel(component: str) -> str:
    """The component without the wheel that it belongs to: `tire_1_2` is a `tire`."""
    return component.rstrip("_0123456789")


def confusion(alerts: Sequence[tuple[Failure, str | None]]) -> Mapping[str, Mapping[str, int]]:
    """Kind of fault → component that alerts named, without its wheel → count, most frequent first.

    The right one at a wrong wheel counts as OTHER_WHEEL.
    """
    counts = defaultdict[str, Counter[str]](Counter)
    for failure, name in alerts:
        if name is not None:
            family = without_wheel(name)
            if family == without_wheel(failure.component) and name != failure.component:
                family = OTHER_WHEEL
            if failure.kind.startswith("sensor_"):  # six of them: which one matters, not its name
                family = "the sensor" if name == failure.component else family
            counts[failure.kind][family] += 1
    return {
        kind: dict(sorted(row.items(), key=lambda item: (-item[1], item[0])))
        for kind, row in sorted(counts.items())
    }
