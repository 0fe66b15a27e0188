"""When an alert of a car opens and closes: the one rule of scorers, trainer and scorecard."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Scores = NDArray[np.floating[Any]]

# What a score that is no number counts as, in thresholds: alone it raises no alarm that smoothing would not
# raise for any other score over the threshold; if it stays, it does.
_NO_NUMBER = 1.01


@dataclass(frozen=True, kw_only=True)
class AlertRule:
    """`smoothing`: share of the newest score in the level (1: the level is the score).

    An open alert closes below `close_ratio` times the threshold. Raises ValueError outside of (0, 1].
    """

    smoothing: float = 1.0
    close_ratio: float = 0.8

    def __post_init__(self) -> None:
        for name in ("smoothing", "close_ratio"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be over 0 and at most 1, not {getattr(self, name)}")


def follow(level: Scores, score: Scores, *, threshold: float, rule: AlertRule) -> Scores:
    """The levels (n,) after one more score (n,) of each; a level is in units of the threshold's.

    A score that is not finite counts as just above the threshold.
    """
    counted = np.where(np.isfinite(score), score, level.dtype.type(_NO_NUMBER * threshold))
    return counted if rule.smoothing == 1 else level + level.dtype.type(rule.smoothing) * (counted - level)


def advance(
    level: Scores, is_open: Mask, score: Scores, *, threshold: float, rule: AlertRule
) -> tuple[Scores, Mask, Mask, Mask]:
    """(level, is_open, opened, closed) of n cars after one more score of each; all (n,), the given unchanged.

    `level` and `score` are in units of the threshold's, as in `follow`; a new car's level is 0.
    """
    level = follow(level, score, threshold=threshold, rule=rule)
    return level, *judge(level, is_open, threshold=threshold, rule=rule)


def judge(level: Scores, is_open: Mask, *, threshold: float, rule: AlertRule) -> tuple[Mask, Mask, Mask]:
    """(is_open, opened, closed) of n cars whose levels are these now; all (n,), the given unchanged."""
    above = level > threshold
    stays = is_open & (level >= rule.close_ratio * threshold)
    now_open = above | stays
    return now_open, now_open > is_open, now_open < is_open
