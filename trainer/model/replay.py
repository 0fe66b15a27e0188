"""The very graph that the scorers get, run over the past of many cars, all cars in step."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats
from trainer.model.interpreter import Interpreter
from trainer.model.robust import CarNumbers

Rows = NDArray[np.intp]
_GROUP_CARS = 1024  # in step: larger blocks were slower


@dataclass(frozen=True)
class Replay:
    """Of N rows of C cars: score (N,); the states (C, S) after each car's last row, cars in their order.

    Where asked for: contribution (N, K), and the states (m, S) after the m rows `kept`.
    """

    score: Floats
    state: Floats
    contribution: Floats | None = None
    kept: Floats | None = None


def replay(
    tflite: bytes,
    signals: Floats,
    car: CarNumbers,
    *,
    contributions: bool = False,
    keep: Rows | None = None,
) -> Replay:
    """Run every car from a new car's state through its rows; signals (N, K), car (N,), by car and time.

    `keep` (m,), ascending: rows after which the states are wanted. Raises ValueError for bytes that are no
    detector of so many signals.
    """
    count = signals.shape[1]
    interpreter = Interpreter(tflite, count)
    score = np.empty(len(car), np.float32)
    contribution = np.empty((len(car) if contributions else 0, count), np.float32)
    state = np.zeros((len(runs(car)[0]), interpreter.state_width), np.float32)
    wanted = np.full(len(car), -1, np.intp)
    rows_kept = np.empty(0, np.intp) if keep is None else keep
    wanted[rows_kept] = np.arange(len(rows_kept))
    kept = np.empty((len(rows_kept), interpreter.state_width), np.float32)
    for rows, who in in_step(car, _GROUP_CARS):
        score[rows], parts, after = interpreter.run(signals[rows], state[who])
        state[who] = after
        if contributions:
            contribution[rows] = parts
        places = wanted[rows]
        if (found := places >= 0).any():
            kept[places[found]] = after[found]
    return Replay(score, state, contribution if contributions else None, None if keep is None else kept)


def in_step(car: CarNumbers, cars_max: int | None = None) -> Iterator[tuple[Rows, Rows]]:
    """The first row of every car, then the second of each that has one, and so on: (rows (k,), whose (k,)).

    `car` (N,) by car and time; `whose` numbers the cars in their order in it. No more than `cars_max` cars go
    together, those with the most rows first.
    """
    starts, lengths = runs(car)
    longest_first = np.argsort(-lengths, kind="stable")
    together = cars_max or max(1, len(starts))
    for group in range(0, len(starts), together):
        cars = longest_first[group : group + together]
        begins, shorter = starts[cars], -lengths[cars]
        for sample in range(-int(shorter[0])):
            active = int(np.searchsorted(shorter, -sample))  # those that have one more row
            yield begins[:active] + sample, cars[:active]


def runs(car: CarNumbers) -> tuple[Rows, Rows]:
    """(first row, number of rows) of each run of the same car in `car` (N,)."""
    starts = np.flatnonzero(np.diff(car, prepend=-1)) if len(car) else np.empty(0, np.intp)
    return starts, np.diff(starts, append=len(car))


def ranks(car: CarNumbers) -> Rows:
    """(N,): how many rows of the same car stand before each row."""
    starts, lengths = runs(car)
    return np.arange(len(car)) - np.repeat(starts, lengths)
