"""A recording passed through the detector, all machines in step, by the scorers' alert rule."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract import alert_rule
from contract.alert_rule import AlertRule
from contract.golden import Step
from contract.state_layout import SEEN
from trainer.model.replay import in_step

_PROGRESS_ROWS = 500_000


@dataclass
class MachineStates:
    """What is kept of G machines between two rows of each."""

    state: NDArray[np.float32]  # (G, S) of the graph
    level: NDArray[np.float64]  # (G,) of the alert rule
    is_open: NDArray[np.bool_]  # (G,) whether an alarm is open

    @classmethod
    def new(cls, machines: int, width: int) -> "MachineStates":
        """The states of new machines."""
        return cls(np.zeros((machines, width), np.float32), np.zeros(machines), np.zeros(machines, bool))


@dataclass(frozen=True)
class Passage:
    """What the detector gave for N rows."""

    score: NDArray[np.float32]  # (N,)
    level: NDArray[np.float64]  # (N,) smoothed score, 0 while the machine is learned
    alarm: NDArray[np.bool_]  # (N,) whether an alarm is open
    warm: NDArray[np.bool_]  # (N,) whether the machine was learned by then
    explained: NDArray[np.intp]  # (M,) rows over the threshold or in an alarm, ascending
    contribution: NDArray[np.float32]  # (M, K) signed contributions to the score of these rows
    states: MachineStates  # after each machine's last row


def pass_through(
    step: Step,
    signals: NDArray[np.float32],
    machine: NDArray[np.integer[Any]],
    states: MachineStates,
    *,
    threshold: float,
    rule: AlertRule,
    learning_samples: int,
    progress: Callable[[int], Any],
) -> Passage:
    """Pass signals (N, K) of machines (N,), by machine and time, through `step`, a call of the graph.

    A machine is judged once it has been seen `learning_samples` times; its level is 0 until then. `states` is
    changed. `progress` is called with the number of rows done.
    """
    count, done, reported = len(machine), 0, 0
    score, level = np.zeros(count, np.float32), np.zeros(count)
    alarm, warm = np.zeros(count, bool), np.zeros(count, bool)
    explained, contributions = [np.empty(0, np.intp)], [np.empty((0, signals.shape[1]), np.float32)]
    for rows, _ in in_step(machine):
        machines = machine[rows]
        score[rows], contribution, states.state[machines] = step(signals[rows], states.state[machines])
        warm[rows] = is_warm = states.state[machines, SEEN] >= learning_samples
        rows_judged, judged = rows[is_warm], machines[is_warm]
        states.level[judged], states.is_open[judged], _, _ = alert_rule.advance(
            states.level[judged],
            states.is_open[judged],
            score[rows_judged].astype(np.float64),
            threshold=threshold,
            rule=rule,
        )
        level[rows_judged], alarm[rows_judged] = states.level[judged], states.is_open[judged]
        if (kept := alarm[rows_judged] | ~(score[rows_judged] <= threshold)).any():
            explained.append(rows_judged[kept])
            contributions.append(contribution[is_warm][kept])
        done += len(rows)
        if done - reported >= _PROGRESS_ROWS:
            progress(done)
            reported = done
    explained_rows = np.concatenate(explained)
    order = np.argsort(explained_rows)
    ordered = np.concatenate(contributions)[order]
    return Passage(score, level, alarm, warm, explained_rows[order], ordered, states)
