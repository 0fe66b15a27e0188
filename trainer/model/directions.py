"""What a fault of each component looks like in the model's memory: healthy cars, moved as the settings say.

How a fault shows depends on the model: where one signal helps to expect others, these seem to move as well.
So nobody writes these directions down: healthy telemetry is moved, and the very graph says where it goes.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from contract.hypotheses import Hypotheses
from contract.signals import Change
from contract.telemetry import Floats
from trainer.model.domain import Domain
from trainer.model.graph import Graph
from trainer.model.interpreter import Interpreter
from trainer.model.learning import some_rows
from trainer.model.replay import replay, runs
from trainer.model.robust import CarNumbers
from trainer.model.state import Memory

F8 = NDArray[np.float64]
_CARS = 12  # that are moved: what they have of their own averages out
# Moved for so many memories; the second half counts, when a memory has gone nearly all of the way.
_MEMORIES = 6
# Of a signal for which nobody has said how far a fault moves it: so many of its spreads among healthy cars.
_SPREADS = 0.5
_DIGITS = 6  # of a number in the manifest


def hypotheses(graph: Graph, tflite: bytes, signals: Floats, car: CarNumbers) -> Hypotheses | None:
    """From rows (n, K) of healthy cars (n,) by car and time; None where the domain names no component.

    One car at least must have more rows than it is learned for, as `learn` demands.
    """
    c, columns = graph.constants, graph.columns
    compared = [*range(*columns.deviation), *range(*columns.repeats)]
    whole = some_rows(np.asarray(np.isfinite(signals).all(axis=1)))
    moves = list(_moves(c.domain, signals[whole].std(axis=0)))
    found: dict[str, list[F8]] = {name: [] for name in c.domain.components}
    if moves:
        still = np.array([np.ones(c.domain.count), np.zeros(c.domain.count)])
        moved = np.array([still, *(move for _, move in moves)], np.float32)
        states = _states(tflite, signals, car, c.memory, moved)[:, compared]
        for (name, _), state in zip(moves, states[1:], strict=True):
            found[name].append(state - states[0])
    restless = np.flatnonzero(c.domain.restless).tolist()
    for name, changes in c.domain.components.items():
        places = [c.domain.place(change.signal) for change in changes if change.stuck]
        for place in set(places) & set(restless):
            found[name].append(np.eye(len(compared))[len(compared) - len(restless) + restless.index(place)])
    seen = {
        name: tuple(_rounded(row) for row in rows if np.abs(row).max() > 0) for name, rows in found.items()
    }
    seen = {name: rows for name, rows in seen.items() if rows}
    if not seen:
        return None
    norm = tuple(_rounded(row) for row in c.norm)
    return Hypotheses(columns=tuple(compared), usual=_rounded(c.usual), norm=norm, directions=seen)


def _moves(domain: Domain, spread: F8) -> Iterator[tuple[str, F8]]:
    """(component, [factor, offset] (2, K)) for every way in which a component's signals can go together."""
    for name, changes in domain.components.items():
        for signs in product(*[(1, -1) if change.either_way else (1,) for change in changes]):
            move = np.array([np.ones(domain.count), np.zeros(domain.count)])
            for change, sign in zip(changes, signs, strict=True):
                place = domain.place(change.signal)
                move[:, place] = change.factor, sign * _offset(change, float(spread[place]))
            yield name, move


def _offset(change: Change, spread: float) -> float:
    return _SPREADS * spread if change.offset is None else change.offset


def _states(tflite: bytes, signals: Floats, car: CarNumbers, memory: Memory, moves: Floats) -> F8:
    """(v, S) mean states of cars, each moved by v factors and offsets (v, 2, K) once it was learned."""
    begins = memory.learning_samples
    starts, lengths = runs(car)
    longest = starts[np.argsort(-lengths, kind="stable")[:_CARS]]
    long = np.sort(lengths)[::-1][: len(longest)]
    longest, long = longest[long > begins], long[long > begins]
    steps = int(min(long.min() - begins, np.ceil(_MEMORIES * memory.memory_samples)))
    learning = (longest[:, None] + np.arange(begins)).ravel()
    learned = replay(tflite, signals[learning], np.repeat(np.arange(len(longest)), begins)).state
    state = np.tile(learned, (len(moves), 1))
    interpreter, summed, counted = Interpreter(tflite, signals.shape[1]), np.zeros(state.shape), 0
    for step in range(steps):
        moved = signals[longest + begins + step] * moves[:, :1] + moves[:, 1:]
        state = interpreter.run(moved.reshape(len(state), -1), state)[2]
        if 2 * step >= steps - 1:
            summed, counted = summed + state, counted + 1
    return np.asarray(summed.reshape(len(moves), len(longest), -1).mean(axis=1) / counted)


def _rounded(row: NDArray[np.floating]) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in row.tolist())
