"""Columns of a car's state that others than the graph know."""

from dataclasses import replace

import numpy as np
import pytest

from contract.state_layout import StateLayout

OLD = StateLayout(
    width=6, learning_samples=10, memory_samples=5, sample_interval_s=1,
    baseline=(1, 3), deviation=(3, 5), units="psi",
)  # fmt: skip
NEW = replace(OLD, width=8, baseline=(2, 4), deviation=(6, 8), learning_samples=20)


def test_a_car_is_warm_at_the_end_of_its_learning_period() -> None:
    """Column 0 counts; a new car, all zeros, is not warm."""
    state = np.zeros((3, 6), np.float32)
    state[:, 0] = 0, 9, 10
    assert OLD.warm(state).tolist() == [False, False, True]


def test_a_drift_that_the_old_model_knew_is_not_learned_as_normal() -> None:
    """It leaves the new baseline, where it was learned, and becomes the new deviation."""
    old, new = np.zeros((1, 6), np.float32), np.zeros((1, 8), np.float32)
    old[0] = 10, 1, 2, 0.5, -3, 9
    new[0] = 20, 7, 5, 6, 8, 9, 0.1, 0.2
    given = new.copy()
    assert NEW.inherited(new, OLD, old).tolist() == [[20, 7, 4.5, 9, 8, 9, 0.5, -3]]
    np.testing.assert_array_equal(new, given)


def test_other_units_are_not_inherited() -> None:
    """What was measured in other units means nothing to the new model."""
    new = np.ones((1, 8), np.float32)
    assert replace(NEW, units="bar").inherited(new, OLD, np.ones((1, 6), np.float32)).tolist() == [[1] * 8]


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"width": 65},
        {"learning_samples": 0},
        {"baseline": (0, 2)},
        {"deviation": (5, 7)},
        {"deviation": (3, 4)},
    ],
)
def test_columns_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    """Outside of the state, over the counter, or of another number than the other range."""
    with pytest.raises(ValueError, match=r"state|differ|range"):
        replace(OLD, **wrong)  # type: ignore[arg-type]
