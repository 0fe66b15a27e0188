"""Models that score a stream of records side by side: the states of all cars, and the alerts of each model.

Memory grows with the number of cars (64 numbers a car and model), not with the length of the stream.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract import alert_rule
from contract.foresight import AlertVerdicts
from contract.manifest import Manifest
from contract.telemetry import SIGNALS, Decoded, Floats
from plumbing.tflite import Interpreter
from trainer import capacity
from trainer.model.domain import columns
from trainer.model.replay import Rows, in_step, ranks, runs

_CARS_IN_STEP = 1024  # rows of one call of the graph: larger batches were slower
_TRUSTED_CLOCKS = 0.99  # share of a block's records; the times of the others do not bound the range


def _grown(array: NDArray[Any], cars: int) -> NDArray[Any]:
    """The array with room for so many cars, at least doubled; new cars are 0."""
    if cars <= len(array):
        return array
    more = np.zeros((max(cars, 2 * len(array)), *array.shape[1:]), array.dtype)
    more[: len(array)] = array
    return more


@dataclass(frozen=True)
class Block:
    """Some records of a stream, n rows by car and seq."""

    cars: Sequence[bytes]  # ids by number
    steps: Sequence[tuple[Rows, Rows]]  # (rows, cars): every car at most once in a step, its rows in order
    seq: NDArray[np.int64]  # (n,)
    sampled_at_ms: NDArray[np.int64]  # (n,) since 1970
    signals: Floats  # (n, K)
    judged: NDArray[np.bool_]  # (n,) whether all models have learned the car by then


class ReplayedCars:
    """The cars of a stream; a record that is not newer than the car's last one is left out, as scorers do."""

    def __init__(self, judged_from: int) -> None:
        """`judged_from`: samples of a car after which every model has learned it."""
        self.judged_from = judged_from
        self.numbers: dict[bytes, int] = {}  # by id, counting up from 0
        self.records = 0
        self.left_out = 0  # of them, because they were not newer
        self.judged_records = 0
        self.interval_s = 0.0  # between two samples of a car, median of the first block
        self.oldest_ms, self.newest_ms = np.inf, -np.inf  # since 1970
        self._seq = np.zeros(0, np.int64)  # of the last record, plus 1
        self._samples = np.zeros(0, np.int64)
        self._judged_since_ms = np.zeros(0, np.int64)  # 0: not yet

    def judged_since_ms(self, car: bytes) -> float:
        """When the models had learned a car, ms since 1970; infinite for one that they have not."""
        known = self.numbers.get(car)
        return np.inf if known is None else float(self._judged_since_ms[known]) or np.inf

    def block(self, car: NDArray[np.int32], decoded: Decoded) -> Block:
        """The newer ones of n records of cars (n,), by car and seq."""
        self._seq, self._samples, self._judged_since_ms = (
            _grown(array, len(self.numbers)) for array in (self._seq, self._samples, self._judged_since_ms)
        )
        order = np.lexsort((decoded.seq, car))
        sorted_car, seq = car[order].astype(np.intp), decoded.seq[order]
        newer = seq >= self._seq[sorted_car]
        newer[1:] &= (np.diff(sorted_car) != 0) | (np.diff(seq) != 0)
        order, sorted_car, seq = order[newer], sorted_car[newer], seq[newer]
        self.records += len(newer)
        self.left_out += len(newer) - len(order)
        at_ms = decoded.sampled_at_ms[order]
        starts, lengths = runs(sorted_car)
        firsts = sorted_car[starts]
        before = self._samples[sorted_car] + ranks(sorted_car)
        judged, begins = before >= self.judged_from, before == self.judged_from
        self._judged_since_ms[sorted_car[begins]] = at_ms[begins]
        self._seq[firsts] = seq[starts + lengths - 1] + 1
        self._samples[firsts] += lengths
        self.judged_records += int(judged.sum())
        self._note_times(sorted_car, at_ms)
        steps = [(rows, firsts[cars]) for rows, cars in in_step(sorted_car, _CARS_IN_STEP)]
        return Block(list(self.numbers), steps, seq, at_ms, decoded.signals[order], judged)

    def _note_times(self, car: Rows, at_ms: NDArray[np.int64]) -> None:
        if not len(at_ms):
            return
        oldest, newest = np.quantile(at_ms, [1 - _TRUSTED_CLOCKS, _TRUSTED_CLOCKS]).tolist()
        self.oldest_ms, self.newest_ms = min(self.oldest_ms, oldest), max(self.newest_ms, newest)
        if not self.interval_s and len(intervals_ms := capacity.car_intervals_ms(car, at_ms)):
            self.interval_s = float(np.median(intervals_ms)) / 1000


class ReplayedModel:
    """A model, its states and levels of all cars, and the verdicts on its alerts."""

    def __init__(self, manifest: Manifest, tflite: bytes, horizon_s: float) -> None:
        """Raises ValueError or RuntimeError for bytes that are no such graph."""
        self.manifest = manifest
        self.verdicts = AlertVerdicts(horizon_s, report_s=0.0)
        self.learning_samples = manifest.state.learning_samples if manifest.state else 0
        self.cpu_s = 1e-9  # for the blocks so far
        self._graph = Interpreter(tflite, len(manifest.signals))
        self._state = np.zeros((0, self._graph.state_width), np.float32)
        self._level, self._is_open = np.zeros(0, np.float32), np.zeros(0, np.bool_)

    def take(self, block: Block) -> None:
        """Score the records of a block; alerts count only in the rows that are judged."""
        began_s, rule = time.thread_time(), self.manifest.alert
        self._state, self._level, self._is_open = (
            _grown(array, len(block.cars)) for array in (self._state, self._level, self._is_open)
        )
        signals, threshold = columns(block.signals, SIGNALS, self.manifest.signals), self.manifest.threshold
        for rows, numbers in block.steps:
            score, _, after = self._graph.run(signals.take(rows, axis=0), self._state.take(numbers, axis=0))
            if not (finite := np.isfinite(after)).all():  # it would stay so: the car is learned anew
                after[~finite.all(axis=1)] = 0
            self._state[numbers] = after
            share = score / np.float32(threshold)
            level = alert_rule.follow(self._level[numbers], share, threshold=1.0, rule=rule)
            self._level[numbers] = level
            is_open, opened, _ = alert_rule.judge(level, self._is_open[numbers], threshold=1.0, rule=rule)
            self._is_open[numbers] = is_open & block.judged[rows]
            for i in np.flatnonzero(opened & block.judged[rows]):
                self._open(block, int(rows[i]), block.cars[numbers[i]].decode(errors="replace"), after[i])
        self.cpu_s += time.thread_time() - began_s

    def _open(self, block: Block, row: int, car: str, state: Floats) -> None:
        hypotheses, at = self.manifest.hypotheses, int(block.sampled_at_ms[row])
        self.verdicts.take_alert(
            {
                "alert_id": f"{car}-{block.seq[row]}",
                "car_id": car,
                "action": "opened",
                "component": hypotheses.of(state)[0] if hypotheses else "",
                "opened_at": at,
                "scored_at": at,
                "model_version": self.manifest.version,
            }
        )
