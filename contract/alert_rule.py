"""When an alert of a car opens and closes: the one rule of scorers, trainer, scorecard and files."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Scores = NDArray[np.floating[Any]]

# A NaN or infinite score counts as this many thresholds: where levels are smoothed, one of them opens no
# alert by itself, lasting ones do.
_NAN_THRESHOLDS = 1.01


@dataclass(frozen=True, kw_only=True)
class AlertRule:
    """Smoothing and hysteresis. Raises ValueError for a value outside of (0, 1]."""

    smoothing: float = 1.0  # share of the newest score in the level; 1: the level is the score
    close_ratio: float = 0.8  # an open alert closes below this share of the threshold

    def __post_init__(self) -> None:
        for name in ("smoothing", "close_ratio"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be over 0 and at most 1, not {getattr(self, name)}")


# The rule of a detector with memory: its score is smooth by itself, so smoothing only keeps a single reading
# from opening an alert.
SMOOTHED = AlertRule(smoothing=0.3)


def follow(level: Scores, score: Scores, *, threshold: float, rule: AlertRule) -> Scores:
    """The levels (n,) of n cars after one more score (n,) of each; all in units of the threshold.

    The level is an exponentially weighted mean of the scores; a new car's level is 0.
    """
    counted = np.where(np.isfinite(score), score, level.dtype.type(_NAN_THRESHOLDS * threshold))
    return counted if rule.smoothing == 1 else level + level.dtype.type(rule.smoothing) * (counted - level)


def judge(level: Scores, is_open: Mask, *, threshold: float, rule: AlertRule) -> tuple[Mask, Mask, Mask]:
    """(is_open, opened, closed) (n,) of n cars with these levels now; the arguments are not changed."""
    above = level > threshold
    stays = is_open & (level >= rule.close_ratio * threshold)
    now_open = above | stays
    return now_open, now_open > is_open, now_open < is_open


def advance(
    level: Scores, is_open: Mask, score: Scores, *, threshold: float, rule: AlertRule
) -> tuple[Scores, Mask, Mask, Mask]:
    """`follow`, then `judge`: (level, is_open, opened, closed) (n,) after one more score of each car."""
    level = follow(level, score, threshold=threshold, rule=rule)
    return level, *judge(level, is_open, threshold=threshold, rule=rule)
