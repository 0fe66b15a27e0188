"""Golden vectors detect a model that computes other results in any sample."""

import dataclasses
import math

import numpy as np
import pytest

from contract.golden import Floats, Golden

SIGNALS = np.random.default_rng(1).normal(size=(5, 2, 7)).astype(np.float32)
STATE = np.zeros((2, 3), np.float32)


def step(signals: Floats, state: Floats) -> tuple[Floats, Floats, Floats]:
    """A state of the first signals; the score depends on all of it, so an error also shows later."""
    after = (0.5 * state + signals[:, :3]).astype(np.float32)
    contribution = signals * after.sum(axis=1, keepdims=True)
    return np.abs(contribution).sum(axis=1), contribution, after


GOLDEN = Golden.of(SIGNALS, STATE, step)


def test_the_same_computation_passes() -> None:
    """It passes exactly, and with an error within the tolerance."""
    assert GOLDEN.differences(step) == []

    def nearly(signals: Floats, state: Floats) -> tuple[Floats, Floats, Floats]:
        score, contribution, after = step(signals, state)
        return score * np.float32(1 + 1e-6), contribution, after

    assert GOLDEN.differences(nearly) == []


@pytest.mark.parametrize("output", [0, 1, 2])
@pytest.mark.parametrize("wrong", [1.001, math.nan])
def test_another_score_contribution_or_state_is_reported_with_its_car(output: int, wrong: float) -> None:
    """One car's output in the last of the samples is enough."""
    calls = []

    def other(signals: Floats, state: Floats) -> tuple[Floats, ...]:
        outputs = list(step(signals, state))
        calls.append(output)
        if len(calls) == len(GOLDEN):
            outputs[output] = outputs[output].copy()
            outputs[output][1] *= np.float32(wrong)
        return tuple(outputs)

    (difference,) = GOLDEN.differences(other)  # type: ignore[arg-type]
    assert difference.startswith("car 1")


def test_the_state_goes_from_sample_to_sample() -> None:
    """A graph that forgets gives the first sample right and the second one wrong."""
    differences = GOLDEN.differences(lambda signals, state: step(signals, np.zeros_like(state)))
    assert differences[0].startswith("car 0, sample 1: ")


def test_outputs_of_another_shape_are_reported() -> None:
    """More rows, or a state of another width."""

    def longer(signals: Floats, state: Floats) -> tuple[Floats, Floats, Floats]:
        score, contribution, after = step(signals, state)
        return np.resize(score, 3), contribution, after

    def wider(signals: Floats, state: Floats) -> tuple[Floats, Floats, Floats]:
        score, contribution, after = step(signals, state[:, :3])
        return score, contribution, np.pad(after, ((0, 0), (0, 1)))

    assert "not (2,)" in GOLDEN.differences(longer)[0]
    assert "shape (2, 4)" in GOLDEN.differences(wider)[0]


def test_a_golden_score_that_is_not_finite_never_passes() -> None:
    """A graph with NaN weights gives the expected NaN and is a broken model nevertheless."""
    golden = dataclasses.replace(GOLDEN, score=((math.nan,) * 2,) * 5)

    def broken(signals: Floats, state: Floats) -> tuple[Floats, Floats, Floats]:
        score, contribution, after = step(signals, state)
        return score * np.float32(math.nan), contribution, after

    assert golden.differences(broken) != []


def test_golden_vectors_without_samples_prove_nothing() -> None:
    """Golden vectors of no sample differ from every model."""
    assert Golden.of(SIGNALS[:0], STATE, step).differences(step) == ["no golden vectors"]


def test_a_graph_without_state_has_states_without_columns() -> None:
    """Width 0 goes in and comes out."""
    none = np.empty((2, 0), np.float32)

    def stateless(signals: Floats, state: Floats) -> tuple[Floats, Floats, Floats]:
        assert state.shape == (2, 0)
        return signals.sum(axis=1), signals, state

    assert Golden.of(SIGNALS, none, stateless).differences(stateless) == []
