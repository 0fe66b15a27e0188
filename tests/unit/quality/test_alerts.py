"""Openings, thresholds and budgets on scores made by hand."""

import numpy as np
import pytest

from contract.alert_rule import AlertRule, advance
from quality.metrics import FleetLevels
from trainer.judge import alarms
from trainer.judge.alarms import WEEK_S

PLAIN = AlertRule(smoothing=1.0, close_ratio=0.5)
HOUR_S = 3600.0


def _levels(*cars: list[float], from_sample: int = 0, rule: AlertRule = PLAIN) -> FleetLevels:
    return FleetLevels.of(np.array(cars, np.float32), from_sample, HOUR_S, rule)


def test_an_alert_opens_once_until_it_has_closed():
    """Above the threshold it opens; it closes only below the threshold's share, and may open again."""
    car, at_s = _levels([0, 3, 1.5, 3, 0.5, 3], [0, 0, 0, 0, 0, 0]).openings(2.0)
    assert (car.tolist(), at_s.tolist()) == ([0, 0], [2 * HOUR_S, 6 * HOUR_S])


def test_nobody_is_asked_in_the_learning_period():
    """Scores before from_sample open nothing and are not part of the car-weeks."""
    levels = _levels([9, 9, 0, 9], from_sample=2)
    assert levels.openings(2.0)[1].tolist() == [4 * HOUR_S]
    assert levels.car_weeks == pytest.approx(2 * HOUR_S / WEEK_S)


def test_openings_are_those_of_the_rule_that_scorers_run():
    """The vectorised openings equal advance(), record by record, on random scores."""
    rule = AlertRule(smoothing=0.3, close_ratio=0.7)
    score = np.random.default_rng(1).exponential(size=(20, 200)).astype(np.float32)
    level, is_open, wanted = np.zeros(20, np.float32), np.zeros(20, bool), []
    for sample in range(200):
        level, is_open, opened, _ = advance(level, is_open, score[:, sample], threshold=1.4, rule=rule)
        wanted += [(car, (sample + 1) * HOUR_S) for car in np.flatnonzero(opened).tolist()]
    car, at_s = FleetLevels.of(score, 0, HOUR_S, rule).openings(1.4)
    assert len(wanted) > 50
    assert list(zip(car.tolist(), at_s.tolist(), strict=True)) == sorted(wanted)


def test_openings_are_those_that_the_trainer_counts():
    """What sets the threshold of a model that is shipped counts the same alerts."""
    rule = AlertRule(smoothing=0.3, close_ratio=0.7)
    score = np.random.default_rng(2).exponential(size=(20, 200)).astype(np.float32)
    number = np.repeat(np.arange(20), 200)
    rows = alarms.openings(alarms.levels(score.ravel(), number, rule), number, 1.4, rule)
    car, at_s = FleetLevels.of(score, 0, HOUR_S, rule).openings(1.4)
    assert (car * 200 + at_s / HOUR_S - 1).tolist() == rows.tolist()


def test_the_threshold_keeps_the_budget_and_no_more():
    """With one peak of each of ten cars in a week, 0.3 alarms per car-week let the three highest through."""
    score = np.zeros((10, 168), np.float32)
    score[np.arange(10), 50] = np.arange(1, 11)
    levels = FleetLevels.of(score, 0, HOUR_S, PLAIN)
    threshold = levels.threshold(0.3)
    assert threshold == 7
    assert levels.false_alarms_per_car_week(threshold) == pytest.approx(0.3)


def test_a_score_that_is_no_number_is_refused():
    """A detector with NaN has no figures."""
    with pytest.raises(ValueError, match="finite"):
        _levels([0.0, float("nan")])


def test_cars_that_stand_out_set_no_threshold():
    """A car that is far above thirty others is left out, with its weeks."""
    score = np.random.default_rng(1).exponential(size=(31, 400)).astype(np.float32)
    score[7] += 20
    levels = FleetLevels.of(score, 0, HOUR_S, PLAIN)
    trusted = levels.trusted()
    assert trusted.car_weeks == pytest.approx(levels.car_weeks * 30 / 31)
    assert trusted.threshold(0.5) < 20 < levels.highest[7]
