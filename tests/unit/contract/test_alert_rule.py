"""When an alert opens and closes."""

from typing import Any

import numpy as np
import pytest

from contract.alert_rule import AlertRule, advance

RULE = AlertRule(smoothing=0.5, close_ratio=0.5)


def course(*scores: float, rule: AlertRule = RULE, threshold: float = 10.0) -> str:
    """One letter per score: o opens, = stays open, c closes, . no alert."""
    level, is_open = np.zeros(1, np.float32), np.zeros(1, np.bool_)
    letters = ""
    for score in scores:
        level, is_open, opened, closed = advance(
            level, is_open, np.array([score], np.float32), threshold=threshold, rule=rule
        )
        letters += "o" if opened[0] else "c" if closed[0] else "=" if is_open[0] else "."
    return letters


def test_a_level_over_the_threshold_opens_and_one_far_below_closes() -> None:
    """The level follows the score by half its distance; between the bounds nothing changes."""
    assert course(10, 10, 10, 16, 8, 8, 8, 4, 0, 0, 30) == "...o====c.o"


def test_at_the_bounds_nothing_changes() -> None:
    """A level equal to the threshold opens nothing, one equal to the closing bound closes nothing."""
    exact = AlertRule(smoothing=1.0, close_ratio=0.5)
    assert course(10, 11, 5, 4.99, rule=exact) == ".o=c"


def test_without_hysteresis_an_alert_closes_at_the_threshold() -> None:
    """A close ratio of 1: the alert is open exactly while the level is over the threshold."""
    assert course(11, 10, 9, 11, rule=AlertRule(smoothing=1.0, close_ratio=1.0)) == "o=co"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_counts_as_just_over_the_threshold(value: float) -> None:
    """With smoothing one opens nothing, many do, and the level stays finite."""
    assert course(value) == "."
    assert "o" in course(*[value] * 20)
    assert course(*[value] * 20, 0, 0, 0).endswith("=c.")
    assert course(value, rule=AlertRule()) == "o"


def test_cars_are_independent_and_the_arguments_stay_unchanged() -> None:
    """Each row is its own car; float32 stays float32."""
    level, is_open = np.array([0, 9, 20], np.float32), np.array([False, False, True])
    given = level.copy(), is_open.copy()
    result = advance(level, is_open, np.array([4, 30, 0], np.float32), threshold=12.0, rule=RULE)
    assert result[0].tolist() == [2, 19.5, 10]
    assert [mask.tolist() for mask in result[1:]] == [
        [False, True, True], [False, True, False], [False, False, False]
    ]  # fmt: skip
    assert result[0].dtype == np.float32
    np.testing.assert_array_equal(level, given[0])
    np.testing.assert_array_equal(is_open, given[1])


@pytest.mark.parametrize(
    "wrong", [{"smoothing": 0.0}, {"smoothing": 1.1}, {"close_ratio": 0}, {"close_ratio": 2}]
)
def test_a_rule_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    """Both numbers must be in (0, 1]."""
    with pytest.raises(ValueError, match="must be over 0"):
        AlertRule(**wrong)
