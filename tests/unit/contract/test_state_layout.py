"""Columns of a car's state that others than the graph know."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.state_layout import StateLayout

OLD = StateLayout(
    width=6, learning_samples=10, memory_samples=5, sample_interval_s=1,
    baseline=(1, 3), deviation=(3, 5), variance=(5, 6), units="psi",
)  # fmt: skip
NEW = replace(OLD, width=8, baseline=(2, 4), deviation=(6, 8), variance=(4, 5), learning_samples=20)
NONE = np.zeros((1, 2), np.float32)


def states() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(new, old) states of one car."""
    new, old = np.zeros((1, 8), np.float32), np.zeros((1, 6), np.float32)
    new[0] = 10, 7, 5, 6, 8, 9, 0.1, 0.2
    old[0] = 10, 1, 2, 0.5, -3, 9
    return new, old


def test_a_car_is_warm_at_the_end_of_its_learning_period() -> None:
    """Column 0 counts; a new car, all zeros, is not warm."""
    state = np.zeros((3, 6), np.float32)
    state[:, 0] = 0, 9, 10
    assert OLD.warm(state).tolist() == [False, False, True]


def test_what_two_models_saw_of_the_same_samples_differs_by_no_noise() -> None:
    """Drift and difference are exact means, though the old model keeps only a lagging average."""
    noise = np.random.default_rng(1).normal(size=(40, 2)).astype(np.float32)
    new, old = np.zeros((1, 8), np.float32), np.zeros((1, 6), np.float32)
    old[0, 0], old[0, 1:3] = 10, (1, 2)
    for number, residual in enumerate(noise):
        before = old.copy()
        old[0, 3:5] += (residual - old[0, 1:3] - old[0, 3:5]) / 5
        if number >= 30:
            new[0, 0] += 1
            new[0, 2:4] += (residual + 0.25 - new[0, 2:4]) / new[0, 0]
            NEW.watch(new, OLD, before, old)
    drift, difference = NEW.compared(new, OLD, old)
    np.testing.assert_allclose(difference, [[0.25, 0.25]], atol=1e-5)
    np.testing.assert_allclose(drift, [noise[30:].mean(axis=0) - (1, 2)], atol=1e-5)


def test_a_mean_that_a_former_release_did_not_keep_begins_with_the_deviation_now() -> None:
    """A state in the middle of learning has zeros there."""
    new, old = states()
    new[0, 6:8] = 0
    NEW.watch(new, OLD, old, old)
    np.testing.assert_allclose(NEW.compared(new, OLD, old)[0], [[0.5, -3]])


def test_neither_drift_nor_noise_is_learned_as_normal() -> None:
    """The baseline is the old one plus the models' difference; the deviation and the variance go on."""
    new, old = states()
    given = new.copy()
    after = NEW.inherited(new, OLD, old, difference=np.array([[0.25, -1]]), normal=NONE)
    assert after.tolist() == [[20, 7, 1.25, 1, 9, 9, 0.5, -3]]
    np.testing.assert_array_equal(new, given)


def test_what_is_normal_from_now_on_moves_into_the_baseline() -> None:
    """The deviation loses as much."""
    new, old = states()
    after = NEW.inherited(new, OLD, old, difference=NONE, normal=np.array([[0, -2]]))
    assert after[0, 2:4].tolist() == [1, 0]
    assert after[0, 6:8].tolist() == [0.5, -1]


def test_a_car_that_was_hardly_watched_gets_as_much_less_of_the_difference() -> None:
    """Two of ten samples: a fifth. A signal that was never there keeps its old baseline."""
    new, old = states()
    new[0, 0], new[0, 3] = 2, 0
    after = NEW.inherited(new, OLD, old, difference=np.array([[1, 1]]), normal=NONE)
    np.testing.assert_allclose(after[0, 2:4], [1.2, 2], rtol=1e-6)


@pytest.mark.parametrize(("now", "inherited"), [(30.0, 9.0), (5.0, 9.0), (4.0, 4.0)])
def test_a_car_is_as_restless_as_before_or_clearly_less(now: float, inherited: float) -> None:
    """A growing fault makes a car restless; a model that knows the car's kind finds it calm."""
    new, old = states()
    new[0, 4] = now
    assert NEW.inherited(new, OLD, old, difference=NONE, normal=NONE)[0, 4] == inherited
    unknown = replace(NEW, variance=None)
    assert unknown.inherited(new, OLD, old, difference=NONE, normal=NONE)[0, 4] == now


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0},
        {"width": 65},
        {"learning_samples": 0},
        {"baseline": (0, 2)},
        {"deviation": (5, 7)},
        {"deviation": (3, 4)},
        {"variance": (6, 7)},
    ],
)
def test_columns_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    """Outside of the state, over the counter, or of another number than the other range."""
    with pytest.raises(ValueError, match=r"state|differ|range"):
        replace(OLD, **wrong)  # type: ignore[arg-type]


def test_a_learned_car_beyond_the_strange_variance_is_not_judged() -> None:
    """A car that is still being learned is not yet strange; an old manifest does not say which cars are."""
    state = np.zeros((3, 6), np.float32)
    state[:, 0], state[:, 5] = (10, 10, 9), (6.9, 7.0, 8.0)
    assert replace(OLD, strange_variance=7.0).strange(state).tolist() == [False, True, False]
    assert not OLD.strange(state).any()
