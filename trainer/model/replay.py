"""The exported graph, run over the past of many cars, all cars in step."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats
from plumbing.tflite import Interpreter
from trainer.model.robust import CarNumbers

Rows = NDArray[np.intp]  # indices of rows
_GROUP_CARS = 1024  # in step: larger batches were slower


@dataclass(frozen=True)
class Replay:
    """What the graph gave for N rows of C cars."""

    score: Floats  # (N,)
    state: Floats  # (C, S) after each car's last row, cars in the order of their rows
    kept: Floats  # (m, S) states after the rows `keep`


def replay(tflite: bytes, signals: Floats, car: CarNumbers, *, keep: Rows | None = None) -> Replay:
    """Run every car, from a new car's state, through its rows: signals (N, K), car (N,), by car and time.

    `keep` (m,), ascending: rows after which the state is wanted, too. Raises ValueError for bytes that are no
    detector for K signals.
    """
    interpreter = Interpreter(tflite, signals.shape[1])
    keep = np.empty(0, np.intp) if keep is None else keep
    kept_as = np.full(len(car), -1, np.intp)
    kept_as[keep] = np.arange(len(keep))
    score = np.empty(len(car), np.float32)
    state = np.zeros((len(runs(car)[0]), interpreter.state_width), np.float32)
    kept = np.empty((len(keep), interpreter.state_width), np.float32)
    for rows, cars in in_step(car, _GROUP_CARS):
        score[rows], _, after = interpreter.run(signals[rows], state[cars])
        state[cars] = after
        if (wanted := kept_as[rows] >= 0).any():
            kept[kept_as[rows][wanted]] = after[wanted]
    return Replay(score, state, kept)


def in_step(car: CarNumbers, cars_max: int | None = None) -> Iterator[tuple[Rows, Rows]]:
    """Yields (rows (k,), cars (k,)): the first row of every car, then the second of each that has one, …

    `car` (N,) by car and time; `cars` numbers the cars by their order in it. At most `cars_max` cars go
    together, those with the most rows first.
    """
    starts, lengths = runs(car)
    longest_first = np.argsort(-lengths, kind="stable")
    group_cars = cars_max or max(1, len(starts))
    for group in range(0, len(starts), group_cars):
        cars = longest_first[group : group + group_cars]
        begins, shorter = starts[cars], -lengths[cars]
        for sample in range(-int(shorter[0])):
            active = int(np.searchsorted(shorter, -sample))  # the cars that have one more row
            yield begins[:active] + sample, cars[:active]


def runs(car: CarNumbers) -> tuple[Rows, Rows]:
    """(first row, number of rows) of each run of the same car in `car` (N,)."""
    starts = np.flatnonzero(np.diff(car, prepend=-1)) if len(car) else np.empty(0, np.intp)
    return starts, np.diff(starts, append=len(car))


def ranks(car: CarNumbers) -> Rows:
    """(N,): how many rows of the same car come before each row."""
    starts, lengths = runs(car)
    return np.arange(len(car)) - np.repeat(starts, lengths)
