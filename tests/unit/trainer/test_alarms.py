"""Alerts in the past are those that the scorers would have opened."""

import numpy as np
import pytest

from contract.alert_rule import AlertRule, advance
from trainer.judge import alarms
from trainer.judge.alarms import Levels


def test_alerts_open_and_close_by_the_scorers_rule() -> None:
    """An alert stays open between the two limits, a car begins closed, and level is the smoothed score."""
    rule = AlertRule(smoothing=1.0, close_ratio=0.5)
    levels = Levels(np.array([0, 3, 1.5, 3, 0.5, 3, 1.5, 1.5, 3], np.float32))
    car = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1])
    assert alarms.openings(levels, car, 2.0, rule).tolist() == [1, 5, 8]
    smooth = alarms.levels(np.array([4, 4, 4], np.float32), np.array([0, 0, 1]), AlertRule(smoothing=0.5))
    assert smooth.at(1.0).tolist() == [2, 3, 2]


@pytest.mark.parametrize("threshold", [0.4, 1.4, 40.0])
@pytest.mark.parametrize("smoothing", [1.0, 0.3])
def test_nan_scores_count_as_they_do_for_the_scorers(smoothing: float, threshold: float) -> None:
    """Levels and openings equal advance() on random scores with single and lasting NaNs and infinities."""
    rule = AlertRule(smoothing=smoothing, close_ratio=0.7)
    rng = np.random.default_rng(1)
    score = rng.exponential(threshold / 2, size=(20, 200)).astype(np.float32)
    score[rng.random(score.shape) < 0.05] = np.nan
    score[rng.random(score.shape) < 0.05] = np.inf
    score[3, 50:90], score[4, 60:] = -np.inf, np.nan
    level, is_open = np.zeros(20, np.float32), np.zeros(20, bool)
    wanted, opens = np.empty_like(score), np.empty(score.shape, bool)
    for sample in range(200):
        level, is_open, opens[:, sample], _ = advance(
            level, is_open, score[:, sample], threshold=threshold, rule=rule
        )
        wanted[:, sample] = level
    car = np.repeat(np.arange(20), 200)
    levels = alarms.levels(score.ravel(), car, rule)
    np.testing.assert_allclose(levels.at(threshold).reshape(20, 200), wanted, rtol=1e-5)
    assert alarms.openings(levels, car, threshold, rule).tolist() == np.flatnonzero(opens).tolist()
    assert 20 < opens.sum() < 2_000


def test_a_budget_that_nan_scores_use_up_has_no_threshold() -> None:
    """20 of 40 healthy cars have one NaN score: any threshold lets 20 alerts through."""
    score = np.random.default_rng(1).exponential(size=(40, 100)).astype(np.float32)
    score[::2, 50] = np.nan
    car, rule = np.repeat(np.arange(40), 100), AlertRule(close_ratio=0.5)
    levels = alarms.levels(score.ravel(), car, rule)
    healthy = alarms.healthy_alerts(levels, car, rule, 60.0)
    weeks = healthy.weeks.sum()
    enough, few = (float(healthy.thresholds(alerts / weeks)[0]) for alerts in (25, 19))
    assert 20 <= len(alarms.openings(levels, car, enough, rule)) <= 25
    assert few > 1e30
    assert len(alarms.openings(levels, car, few, rule)) == 20
