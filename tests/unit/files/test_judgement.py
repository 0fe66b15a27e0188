"""Rows passed through a detector, machine by machine, with their states carried on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.alert_rule import AlertRule
from files.folder import States
from files.judgement import judge
from files.recording import Recording
from files.scored import Scored

THRESHOLD, LEARNING = 10.0, 2
Floats = NDArray[np.float32]


def _step(signals: Floats, state: Floats) -> tuple[Floats, Floats, Floats]:
    """The score is the sum of all signals seen; column 0 of the state counts samples, column 1 adds up."""
    seen = np.minimum(state[:, :1] + 1, LEARNING)
    total = state[:, 1:] + signals.sum(axis=1, keepdims=True)
    return total[:, 0], signals * total, np.concatenate([seen, total], axis=1)


def _new(machines: int) -> States:
    """The states of new machines."""
    names = tuple(f"m{number}" for number in range(machines))
    nothing = np.zeros(machines)
    return States(
        names, np.zeros((machines, 2), np.float32), nothing.copy(), np.zeros(machines, bool), nothing
    )


def _judge(
    signals: Sequence[Any], machine: Sequence[int], states: States | None = None, **other: Any
) -> tuple[Scored, States]:
    states = states or _new(max(machine) + 1)
    rows = np.array(signals, np.float64).reshape(len(machine), -1)
    recording = Recording(
        columns=("a", "b")[: rows.shape[1]],
        machines=states.machines,
        machine=np.array(machine, np.int32),
        signals=rows,
        times=None,
        row=np.arange(len(machine)),
        interval_s=1.0,
        notes=(),
    )
    options = {"threshold": THRESHOLD, "rule": AlertRule(), "learning_samples": LEARNING} | other
    training = np.zeros(len(machine), bool)
    return judge(_step, recording, training, states, say=lambda _: None, **options), states


def test_each_machine_has_a_state_of_its_own():
    """Scores are those of the machine's own rows, in their order."""
    result, states = _judge([1, 2, 4, 100, 200], [0, 0, 0, 2, 2])
    assert result.score.tolist() == [1, 3, 7, 100, 300]
    assert states.state.tolist() == [[2, 7], [0, 0], [2, 300]]  # the second machine has no row


def test_a_machine_is_not_judged_while_it_is_learned():
    """High scores of the first rows neither open an alarm nor move the level."""
    result, _ = _judge([100, -100, 5, 6], [0, 0, 0, 0])
    assert result.warm.tolist() == [False, True, True, True]
    assert result.alarm.tolist() == [False, False, False, True]
    assert result.level.tolist() == [0, 0, 5, 11]


def test_shares_are_kept_of_explained_rows():
    """Shares of the score of rows over the threshold or in an alarm are kept in the order of rows."""
    result, _ = _judge([[0, 0], [8, 4], [0, -3], [0, 0], [0, 0], [11, 1]], [0, 0, 0, 1, 1, 1])
    assert result.explained.tolist() == [1, 2, 5]
    np.testing.assert_allclose(
        result.shares, [[96 / 144, 48 / 144], [0, 1], [132 / 144, 12 / 144]], rtol=1e-6
    )


def test_alarms_close_with_hysteresis():
    """The rule is the scorers': an alarm stays open until the level is below its share of the threshold."""
    result, _ = _judge([0, 0, 11, -2, -2], [0] * 5, rule=AlertRule(close_ratio=0.8))
    assert result.level.tolist() == [0, 0, 11, 9, 7]
    assert result.alarm.tolist() == [False, False, True, True, False]


@pytest.mark.parametrize("cut", range(1, 7))
def test_halves_with_the_memory_carried_on_are_the_whole(cut: int):
    """Wherever a file is cut: scores, levels, alarms and the memory at the end are the same."""
    signals, machine = [3.0, 4, 5, -6, 9, 2, -12], [0] * 7
    rule = AlertRule(smoothing=0.5)
    whole, states = _judge(signals, machine, rule=rule)
    first, between = _judge(signals[:cut], machine[:cut], rule=rule)
    second, after = _judge(signals[cut:], machine[cut:], between, rule=rule)
    for name in ("score", "level", "alarm", "warm"):
        joined = np.concatenate([getattr(first, name), getattr(second, name)])
        np.testing.assert_array_equal(joined, getattr(whole, name))
    np.testing.assert_array_equal(after.state, states.state)
