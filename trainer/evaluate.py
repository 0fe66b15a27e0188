"""Detectors compared on held-out cars, each with a threshold set on the same calibration cars.

Every share is a mean over samples, and its uncertainty one over *cars* (samples of a car are alike): cars are
drawn again with replacement, calibration and test cars, the same ones for every detector.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer import robust
from trainer.baselines import Detector
from trainer.held_out import HeldOut

_DRAWS = 200
# The threshold is the one that keeps the budget in this share of the draws: with few cars a little higher.
THRESHOLD_CONFIDENCE = 0.8


@dataclass(frozen=True)
class Judgement:
    """What a detector did with a threshold for the budgeted share of false alarms.

    `recall` and its interval are those at the thresholds that other draws of cars would give; so is
    `recall_drawn` (draws,), the same draws for every detector. `alarm_share` is that of `threshold` itself.
    """

    threshold: float
    alarm_share: float  # of samples of healthy test cars that nothing makes suspect
    alarm_share_low: float  # it is hardly less than this: its 5 % quantile over draws of cars
    suspect_share: float  # of the healthy test cars
    recall: float
    recall_by_fault: dict[str, float]
    auroc: float
    recall_drawn: NDArray[np.float64]

    def metrics(self) -> dict[str, Any]:
        """For the manifest."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "recall_drawn"}


def judge(detector: Detector, data: HeldOut, alarm_share: float) -> Judgement:
    """Set the detector's threshold on the calibration cars and count on the test cars."""
    calibration = detector.score(data.calibration)
    weights = _draws(data.calibration_car, data.cars)
    drawn = robust.thresholds(calibration, data.calibration_car, alarm_share, weights)
    threshold = float(np.quantile(drawn, THRESHOLD_CONFIDENCE))
    healthy, faulty = detector.score(data.healthy), detector.score(data.faulty.signals)
    trusted = ~robust.suspects(healthy, data.healthy_car)
    alarm, hit = ~(healthy[trusted] <= threshold), ~(faulty <= threshold)
    alarm_drawn = [
        _share(alarm, weight[data.healthy_car[trusted]]) for weight in _draws(data.healthy_car, data.cars)
    ]
    recall_drawn = np.array(
        [
            _share(~(faulty <= limit), weight[data.faulty.car])
            for limit, weight in zip(drawn, _draws(data.faulty.car, data.cars), strict=True)
        ]
    )
    return Judgement(
        threshold=threshold,
        alarm_share=float(alarm.mean()),
        alarm_share_low=float(np.quantile(alarm_drawn, 0.05)),
        suspect_share=1 - len(np.unique(data.healthy_car[trusted])) / len(np.unique(data.healthy_car)),
        recall=float(recall_drawn.mean()),
        recall_by_fault={
            name: float(hit[data.faulty.fault == place].mean())
            for place, name in enumerate(data.faulty.faults)
        },
        auroc=auroc(healthy, faulty),
        recall_drawn=recall_drawn,
    )


@dataclass(frozen=True)
class Difference:
    """Recall of the candidate minus that of another detector, with its 90 % interval over draws of cars."""

    mean: float
    low: float
    high: float


def difference(candidate: Judgement, other: Judgement) -> Difference:
    """How much more of the faulty samples the candidate alarms on, for the same budget."""
    gain = candidate.recall_drawn - other.recall_drawn
    low, high = np.quantile(gain, [0.05, 0.95])
    return Difference(float(gain.mean()), float(low), float(high))


def auroc(healthy: NDArray[Any], faulty: NDArray[Any]) -> float:
    """The chance that a faulty sample scores higher than a healthy one; ties count half."""
    values, place = np.unique(np.concatenate([healthy, faulty]), return_inverse=True)
    of_healthy = np.bincount(place[: len(healthy)], minlength=len(values))
    of_faulty = np.bincount(place[len(healthy) :], minlength=len(values))
    below = np.cumsum(of_healthy) - of_healthy / 2
    return float((of_faulty * below).sum() / (len(healthy) * len(faulty)))


def _draws(car: robust.Cars, cars: int) -> NDArray[np.float64]:
    """(_DRAWS, cars): how often each car that has samples is drawn, as many draws as there are such cars."""
    present = np.unique(car)
    rng = np.random.default_rng(len(present))
    weights = np.zeros((_DRAWS, cars))
    weights[:, present] = rng.multinomial(len(present), np.full(len(present), 1 / len(present)), _DRAWS)
    return weights


def _share(hit: NDArray[np.bool_], weight: NDArray[np.float64]) -> float:
    return float((hit * weight).sum() / max(weight.sum(), 1))
