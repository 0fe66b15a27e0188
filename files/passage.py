"""A recording passed through the detector, all machines in step, as scorers do with cars."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract import alert_rule
from contract.alert_rule import AlertRule
from contract.golden import Step
from trainer.model.replay import in_step

_SAY_EVERY_ROWS = 500_000


@dataclass
class Seen:
    """What is known of G machines: the graph's `state` (G, S), the rule's `level` and `is_open` (G,)."""

    state: NDArray[np.float32]
    level: NDArray[np.float64]
    is_open: NDArray[np.bool_]

    @classmethod
    def new(cls, machines: int, width: int) -> "Seen":
        """Of machines that nobody has seen yet."""
        return cls(np.zeros((machines, width), np.float32), np.zeros(machines), np.zeros(machines, bool))


@dataclass(frozen=True)
class Passage:
    """Of N rows: `score`, `level`, `alarm`, `warm` (N,).

    `places` (M,), ascending, are the rows over the threshold or in an alarm, with their signed `contribution`
    (M, K); `seen` is that after the last row of each machine.
    """

    score: NDArray[np.float32]
    level: NDArray[np.float64]
    alarm: NDArray[np.bool_]
    warm: NDArray[np.bool_]
    places: NDArray[np.intp]
    contribution: NDArray[np.float32]
    seen: Seen


def passed(
    step: Step,
    signals: NDArray[np.float32],
    machine: NDArray[np.integer[Any]],
    seen: Seen,
    *,
    threshold: float,
    rule: AlertRule,
    learning_samples: int,
    progress: Callable[[int], Any],
) -> Passage:
    """`signals` (N, K) ordered by `machine` (N,) and time; `step` is a call of the graph.

    A machine is judged from the row on with which it has been seen `learning_samples` times; its level begins
    at 0 then. `seen` is changed. `progress` is told how many rows are done.
    """
    count, said = len(machine), 0
    score, level = np.zeros(count, np.float32), np.zeros(count)
    alarm, warm = np.zeros(count, bool), np.zeros(count, bool)
    places, kept, done = [np.empty(0, np.intp)], [np.empty((0, signals.shape[1]), np.float32)], 0
    for rows, _ in in_step(machine):
        who = machine[rows]
        score[rows], contribution, seen.state[who] = step(signals[rows], seen.state[who])
        warm[rows] = here = seen.state[who, 0] >= learning_samples
        judged, of = rows[here], who[here]
        new_level, is_open, _, _ = alert_rule.advance(
            seen.level[of],
            seen.is_open[of],
            score[judged].astype(np.float64),
            threshold=threshold,
            rule=rule,
        )
        seen.level[of], seen.is_open[of] = new_level, is_open
        level[judged], alarm[judged] = new_level, is_open
        if (keep := is_open | ~(score[judged] <= threshold)).any():
            places.append(judged[keep])
            kept.append(contribution[here][keep])
        done += len(rows)
        if done - said >= _SAY_EVERY_ROWS:
            progress(done)
            said = done
    found = np.concatenate(places)
    order = np.argsort(found)
    return Passage(score, level, alarm, warm, found[order], np.concatenate(kept)[order], seen)
