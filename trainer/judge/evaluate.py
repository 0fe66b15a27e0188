"""One detector judged by the alerts it raises on held-out cars, with a threshold for the given budget.

Uncertainty is over *cars*, because the rows of a car are alike: cars are drawn with replacement (bootstrap),
calibration and test cars, the same draws for every detector.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.judge import alarms
from trainer.judge.alarms import Levels
from trainer.judge.baselines import Contender
from trainer.judge.held_out import HeldOut, Labelled
from trainer.model import robust
from trainer.model.replay import ranks
from trainer.model.robust import CarNumbers

_DRAWS = 200
_THRESHOLDS = 25  # recall is computed for so many of the drawn thresholds; the others take the nearest one's


@dataclass(frozen=True)
class Judgement:
    """What a detector did with a threshold for the budgeted false alarms."""

    threshold: float
    false_alarms_per_car_week: float  # of healthy test cars that are not suspect
    false_alarms_low: float  # its 5 % quantile over draws of cars: it is hardly less than this
    suspect_share: float  # of the healthy test cars
    recall: float  # share of the failures before which an alert opened
    recall_by_fault: dict[str, float]
    auroc: float  # of levels while a fault grows against those of healthy cars
    recall_drawn: NDArray[np.float64]  # (draws,) the same draws for every detector
    thresholds_drawn: NDArray[np.float64]  # (draws,)

    def metrics(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            item.name: getattr(self, item.name) for item in fields(self) if not item.name.endswith("_drawn")
        }


def judge(contender: Contender, data: HeldOut, budget: float) -> Judgement:
    """Set the threshold on the calibration cars; count on the test cars."""
    calibration, car = _judged_levels(contender, data.calibration, data.calibration_car, data.judged_from)
    alerts = alarms.healthy_alerts(calibration, car, contender.rule, data.interval_s)
    thresholds_drawn = alerts.thresholds(budget, _draws(len(alerts.weeks)))
    return judge_at(contender, data, float(alerts.thresholds(budget)[0]), thresholds_drawn)


def judge_at(
    contender: Contender,
    data: HeldOut,
    threshold: float,
    thresholds_drawn: NDArray[np.float64] | None = None,
) -> Judgement:
    """Count on the test cars, with this threshold; `thresholds_drawn` (draws,): None where it is certain."""
    rule, faulty = contender.rule, data.faulty
    if thresholds_drawn is None:
        thresholds_drawn = np.full(_DRAWS, threshold)
    # False alarms of the healthy test cars.
    healthy, car = _judged_levels(contender, data.healthy, data.healthy_car, data.judged_from)
    trusted = ~robust.suspects(healthy.finite, car)
    cars, car_index = np.unique(car[trusted], return_inverse=True)
    opened = car_index[alarms.openings(healthy[trusted], car_index, threshold, rule)]
    weights = _draws(len(cars))
    weeks = weights @ np.bincount(car_index) * alarms.car_weeks(1, data.interval_s)
    rates = weights @ np.bincount(opened, minlength=len(cars)) / np.maximum(weeks, 1e-12)
    # Failures of the faulty cars.
    level = alarms.levels(contender.score(faulty.signals, faulty.drive), faulty.drive, rule)
    hit = _foreseen(level, faulty, threshold, contender)
    return Judgement(
        threshold=threshold,
        false_alarms_per_car_week=len(opened) / max(alarms.car_weeks(len(car_index), data.interval_s), 1e-12),
        false_alarms_low=float(np.quantile(rates, 0.05)),
        suspect_share=1 - len(cars) / max(1, len(np.unique(car))),
        recall=float(hit.mean()) if len(hit) else float("nan"),
        recall_by_fault={
            name: float(hit[faulty.fault == index].mean())
            for index, name in enumerate(faulty.faults)
            if (faulty.fault == index).any()
        },
        auroc=auroc(healthy[trusted].at(threshold), level[_growing(faulty)].at(threshold)),
        recall_drawn=_recall_drawn(level, faulty, thresholds_drawn, contender),
        thresholds_drawn=thresholds_drawn,
    )


@dataclass(frozen=True)
class Difference:
    """Recall of the candidate minus that of another detector, over draws of cars."""

    mean: float
    low: float  # 5 % quantile
    high: float  # 95 % quantile

    def __str__(self) -> str:
        return f"{self.mean:+.3f} (90 % of {self.low:+.3f} to {self.high:+.3f})"


def difference(candidate: Judgement, other: Judgement) -> Difference:
    """How many more of the failures the candidate foresees, for the same budget."""
    gain = candidate.recall_drawn - other.recall_drawn
    low, high = np.quantile(gain, [0.05, 0.95])
    return Difference(float(gain.mean()), float(low), float(high))


def auroc(healthy: NDArray[Any], faulty: NDArray[Any]) -> float:
    """The chance that a fault's score is above a healthy one, ties counting half (Mann and Whitney 1947)."""
    if not healthy.size or not faulty.size:
        return float("nan")
    healthy, faulty = np.sort(healthy), np.sort(faulty)
    below = np.searchsorted(healthy, faulty, "left").astype(np.float64)
    not_above = np.searchsorted(healthy, faulty, "right")
    return float((below + not_above).mean() / 2 / len(healthy))


def _judged_levels(
    contender: Contender, signals: Any, car: CarNumbers, judged_from: int
) -> tuple[Levels, CarNumbers]:
    """(levels, car) of the rows that count."""
    level = alarms.levels(contender.score(signals, car), car, contender.rule)
    counts = ranks(car) >= judged_from
    return level[counts], car[counts]


def _foreseen(level: Levels, faulty: Labelled, threshold: float, contender: Contender) -> NDArray[np.bool_]:
    """(f,): whether an alert opens while the fault grows."""
    opened = alarms.openings(level, faulty.drive, threshold, contender.rule)
    return np.asarray(np.searchsorted(opened, faulty.after) > np.searchsorted(opened, faulty.first), bool)


def _recall_drawn(
    level: Levels, faulty: Labelled, thresholds: NDArray[np.float64], contender: Contender
) -> NDArray[np.float64]:
    """(draws,) recalls over draws of faulty cars, each with a threshold from a draw of calibration cars."""
    tried = np.unique(np.quantile(thresholds, np.linspace(0, 1, _THRESHOLDS)))
    hits = np.array([_foreseen(level, faulty, float(threshold), contender) for threshold in tried])
    nearest = np.abs(thresholds[:, None] - tried).argmin(axis=1)
    cars, car_index = np.unique(faulty.failing_car, return_inverse=True)
    weights = _draws(len(cars))[:, car_index]
    return np.asarray((hits[nearest] * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1))


def _growing(faulty: Labelled) -> NDArray[np.bool_]:
    """(n,): whether a fault grows in the row."""
    change = np.zeros(len(faulty.drive) + 1, np.int64)
    np.add.at(change, faulty.first, 1)
    np.add.at(change, faulty.after, -1)
    return np.asarray(np.cumsum(change)[:-1] > 0)


def _draws(cars: int) -> NDArray[np.float64]:
    """(_DRAWS, cars): how often each car is drawn; every draw has as many as there are cars."""
    rng = np.random.default_rng(cars)
    return rng.multinomial(cars, np.full(cars, 1 / cars), _DRAWS).astype(np.float64)
