"""In which direction of the car's state a fault of each component goes: the hypotheses of the manifest.

How a fault shows depends on the model: where one signal helps to predict others, these seem to move as well.
So nobody writes the directions down: healthy telemetry is changed as signals.toml says, and the exported
graph shows where its state goes.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from contract.hypotheses import Hypotheses
from contract.telemetry import Floats
from plumbing.tflite import Interpreter
from trainer.model.domain import Bools, Domain
from trainer.model.graph import Graph
from trainer.model.learning import some_rows
from trainer.model.replay import Rows, replay, runs
from trainer.model.robust import CarNumbers
from trainer.model.state import Window

F8 = NDArray[np.float64]
_CARS = 12  # that are changed: their individual differences average out
# Cars are driven changed for this many memories; states of the second half count, once averages have settled.
_MEMORIES = 6
_SPREADS = 0.5  # for a signal without a given size: this share of its standard deviation in healthy cars
_DIGITS = 6  # of a number in the manifest


def hypotheses(graph: Graph, tflite: bytes, signals: Floats, car: CarNumbers) -> Hypotheses | None:
    """From rows (n, K) of healthy cars (n,) by car and time; None where the domain names no component.

    At least one car must have more rows than its learning period, as `learn` demands.
    """
    c, columns = graph.constants, graph.columns
    compared = [*range(*columns.deviation), *range(*columns.repeat_rate)]
    complete = some_rows(np.asarray(np.isfinite(signals).all(axis=1)))
    changes = list(_changes(c.domain, signals[complete].std(axis=0)))
    directions: dict[str, list[F8]] = {name: [] for name in c.domain.components}
    if changes:
        unchanged = np.array([np.ones(c.domain.count), np.zeros(c.domain.count)])
        every = np.array([unchanged, *(change for _, change in changes)], np.float32)
        cars = _longest(car, np.isin(car, car[complete]), c.window.learning_samples)
        states = _states(tflite, signals, cars, c.window, every)[:, compared]
        for (name, _), state in zip(changes, states[1:], strict=True):
            directions[name].append(state - states[0])
    restless = np.flatnonzero(c.domain.restless).tolist()
    for name, parts in c.domain.components.items():
        for signal in {c.domain.index(part.signal) for part in parts if part.stuck} & set(restless):
            repeats = len(compared) - len(restless) + restless.index(signal)
            directions[name].append(np.eye(len(compared))[repeats])
    rounded = {
        name: tuple(_rounded(row) for row in rows if np.abs(row).max() > 0)
        for name, rows in directions.items()
    }
    rounded = {name: rows for name, rows in rounded.items() if rows}
    if not rounded:
        return None
    norm = tuple(_rounded(row) for row in c.precision)
    return Hypotheses(columns=tuple(compared), usual=_rounded(c.usual), norm=norm, directions=rounded)


def _changes(domain: Domain, spread: F8) -> Iterator[tuple[str, F8]]:
    """(component, [factor, offset] (2, K)) for every way in which a component's signals can go together."""
    for name, parts in domain.components.items():
        for signs in product(*[(1, -1) if part.either_way else (1,) for part in parts]):
            change = np.array([np.ones(domain.count), np.zeros(domain.count)])
            for part, sign in zip(parts, signs, strict=True):
                signal = domain.index(part.signal)
                offset = _SPREADS * float(spread[signal]) if part.offset is None else part.offset
                change[:, signal] = part.factor, sign * offset
            yield name, change


def _longest(car: CarNumbers, complete: Bools, learning: int) -> tuple[Rows, Rows]:
    """(first rows, numbers of rows) of the cars with the most rows, more than `learning`.

    Only cars that send every signal, `complete` (n,): the others show no direction of what they lack.
    """
    starts, lengths = runs(car)
    usable = complete[starts] & (lengths > learning)
    starts, lengths = starts[usable], lengths[usable]
    longest_first = np.argsort(-lengths, kind="stable")[:_CARS]
    return starts[longest_first], lengths[longest_first]


def _states(tflite: bytes, signals: Floats, cars: tuple[Rows, Rows], window: Window, changes: Floats) -> F8:
    """(v, S) mean states of cars after v changes (v, 2, K), made once their learning period was over."""
    (starts, lengths), learning = cars, window.learning_samples
    steps = int(min(lengths.min() - learning, np.ceil(_MEMORIES * window.memory_samples)))
    rows = (starts[:, None] + np.arange(learning)).ravel()
    learned = replay(tflite, signals[rows], np.repeat(np.arange(len(starts)), learning)).state
    state = np.tile(learned, (len(changes), 1))
    interpreter, total, counted = Interpreter(tflite, signals.shape[1]), np.zeros(state.shape), 0
    for step in range(steps):
        changed = signals[starts + learning + step] * changes[:, :1] + changes[:, 1:]
        state = interpreter.run(changed.reshape(len(state), -1), state)[2]
        if 2 * step >= steps - 1:
            total, counted = total + state, counted + 1
    return np.asarray(total.reshape(len(changes), len(starts), -1).mean(axis=1) / counted)


def _rounded(row: NDArray[np.floating]) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in row.tolist())
