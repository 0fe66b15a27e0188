"""Detectors compared by the alerts they raise on held-out cars, each with a threshold for the same budget.

The uncertainty of every share is one over *cars* (rows of a car are alike): cars are drawn again with
replacement, calibration and test cars, the same ones for every detector.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.judge import alarms
from trainer.judge.alarms import Levels
from trainer.judge.baselines import Detector
from trainer.judge.held_out import HeldOut, Labelled
from trainer.model import robust
from trainer.model.replay import ranks

_DRAWS = 200
_LIMITS = 25  # of the drawn thresholds, so many are looked at


@dataclass(frozen=True)
class Judgement:
    """What a detector did with a threshold for the budgeted false alarms.

    `recall`: share of the failures before which an alert opened; with `recall_drawn` (draws,), the same draws
    for every detector. `false_alarms_per_car_week`: of healthy test cars that nothing makes suspect.
    """

    threshold: float
    false_alarms_per_car_week: float
    false_alarms_low: float  # it is hardly less than this: its 5 % quantile over draws of cars
    suspect_share: float  # of the healthy test cars
    recall: float
    recall_by_fault: dict[str, float]
    auroc: float
    recall_drawn: NDArray[np.float64]

    def metrics(self) -> dict[str, Any]:
        """For the manifest."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "recall_drawn"}


def judge(detector: Detector, data: HeldOut, budget: float) -> Judgement:
    """Set the detector's threshold on the calibration cars and count on the test cars."""
    calibration, car = _judged(detector, data.calibration, data.calibration_car, data.judged_from)
    limits = alarms.healthy_alerts(calibration, car, detector.rule, data.interval_s)
    threshold = float(limits.thresholds(budget)[0])
    drawn = limits.thresholds(budget, _draws(len(limits.weeks)))
    healthy, car = _judged(detector, data.healthy, data.healthy_car, data.judged_from)
    trusted = ~robust.suspects(healthy.finite, car)
    owners, owner = np.unique(car[trusted], return_inverse=True)
    opened = owner[alarms.openings(healthy[trusted], owner, threshold, detector.rule)]
    weights = _draws(len(owners))
    weeks = weights @ np.bincount(owner) * alarms.car_weeks(1, data.interval_s)
    rates = weights @ np.bincount(opened, minlength=len(owners)) / np.maximum(weeks, 1e-12)
    level = alarms.levels(
        detector.score(data.faulty.signals, data.faulty.run), data.faulty.run, detector.rule
    )
    hit = foreseen(level, data.faulty, threshold, detector)
    grown = _grown(data.faulty)
    return Judgement(
        threshold=threshold,
        false_alarms_per_car_week=float(
            len(opened) / max(alarms.car_weeks(len(owner), data.interval_s), 1e-12)
        ),
        false_alarms_low=float(np.quantile(rates, 0.05)),
        suspect_share=1 - len(owners) / max(1, len(np.unique(car))),
        recall=float(hit.mean()) if len(hit) else float("nan"),
        recall_by_fault={
            name: float(hit[data.faulty.fault == place].mean())
            for place, name in enumerate(data.faulty.faults)
            if (data.faulty.fault == place).any()
        },
        auroc=auroc(healthy[trusted].at(threshold), level[grown].at(threshold)),
        recall_drawn=_recalls(level, data.faulty, drawn, detector),
    )


def foreseen(level: Levels, faulty: Labelled, threshold: float, detector: Detector) -> NDArray[np.bool_]:
    """(failures,): whether an alert opens while the fault grows."""
    opened = alarms.openings(level, faulty.run, threshold, detector.rule)
    found = np.searchsorted(opened, faulty.after) > np.searchsorted(opened, faulty.first)
    return np.asarray(found, bool)


def _recalls(
    level: Levels, faulty: Labelled, drawn: NDArray[np.float64], detector: Detector
) -> NDArray[np.float64]:
    """(draws,) recalls at the thresholds that other draws of cars would give, of other draws of failures."""
    limits = np.unique(np.quantile(drawn, np.linspace(0, 1, _LIMITS)))
    hits = np.array([foreseen(level, faulty, float(limit), detector) for limit in limits])
    nearest = np.abs(drawn[:, None] - limits).argmin(axis=1)
    owners, owner = np.unique(faulty.failing_car, return_inverse=True)
    weights = _draws(len(owners))[:, owner]
    return np.asarray((hits[nearest] * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1))


@dataclass(frozen=True)
class Difference:
    """Recall of the candidate minus that of another detector, with its 90 % interval over draws of cars."""

    mean: float
    low: float
    high: float


def difference(candidate: Judgement, other: Judgement) -> Difference:
    """How many more of the failures the candidate foresees, for the same budget."""
    gain = candidate.recall_drawn - other.recall_drawn
    low, high = np.quantile(gain, [0.05, 0.95])
    return Difference(float(gain.mean()), float(low), float(high))


def auroc(healthy: NDArray[Any], faulty: NDArray[Any]) -> float:
    """The chance that a fault's score is above a healthy one, ties counting half (Mann and Whitney 1947)."""
    if not healthy.size or not faulty.size:
        return float("nan")
    ordered, asked = np.sort(healthy), np.sort(faulty)
    below = np.searchsorted(ordered, asked, "left").astype(np.float64)
    upto = np.searchsorted(ordered, asked, "right")
    return float((below + upto).mean() / 2 / len(ordered))


def _judged(
    detector: Detector, signals: Any, car: robust.CarNumbers, judged_from: int
) -> tuple[Levels, robust.CarNumbers]:
    """(levels, car) of the rows that count."""
    level = alarms.levels(detector.score(signals, car), car, detector.rule)
    counts = ranks(car) >= judged_from
    return level[counts], car[counts]


def _grown(faulty: Labelled) -> NDArray[np.bool_]:
    """(n,): whether a fault grows in the row."""
    change = np.zeros(len(faulty.run) + 1, np.int64)
    np.add.at(change, faulty.first, 1)
    np.add.at(change, faulty.after, -1)
    return np.asarray(np.cumsum(change)[:-1] > 0)


def _draws(cars: int) -> NDArray[np.float64]:
    """(_DRAWS, cars): how often each car is drawn, as many draws as there are cars."""
    rng = np.random.default_rng(cars)
    return rng.multinomial(cars, np.full(cars, 1 / cars), _DRAWS).astype(np.float64)
