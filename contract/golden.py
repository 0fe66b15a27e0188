"""Golden vectors: results that a model must reproduce on every processor, sample after sample."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Row = tuple[float, ...]
Rows = tuple[Row, ...]
# One sample of k cars: signals (k, K), state (k, S) to score (k,), contribution (k, K), state (k, S).
Step = Callable[[Floats, Floats], tuple[Floats, Floats, Floats]]

# How far float32 kernels may differ, relative to max(1, |value|), for contributions to the row's largest.
SCORE_TOLERANCE = 1e-5
STATE_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Golden:
    """T consecutive samples of k cars, each run with the states that the previous one left.

    K is the number of signals that the model judges, S the width of its state, 0 without state. The cars of a
    graph with state are a new one, one shortly before the end of its learning period and a learned one.
    Raises ValueError if sizes differ.
    """

    signals: tuple[Rows, ...]  # (T, k, K)
    state: Rows  # (k, S) before the first sample
    score: Rows  # (T, k)
    contribution: tuple[Rows, ...]  # (T, k, K)
    state_after: Rows  # (k, S) after the last sample

    def __post_init__(self) -> None:
        if not len(self.signals) == len(self.score) == len(self.contribution):
            raise ValueError("signals, score and contribution must have the same number of samples")
        samples = (*self.signals, self.state, *self.score, *self.contribution, self.state_after)
        if {len(cars) for cars in samples} != {len(self.state)}:
            raise ValueError("all samples and both states must have the same number of cars")
        if len({len(state) for state in (*self.state, *self.state_after)}) > 1:
            raise ValueError("all states must have the same number of values")

    @classmethod
    def of(cls, signals: Floats, state: Floats, step: Step) -> "Golden":
        """The results of `step` for signals (T, k, K) and state (k, S)."""
        scores, contributions, after = [], [], state
        for sample in signals:
            score, contribution, after = step(sample, after)
            scores.append(tuple(score.tolist()))
            contributions.append(_rows(contribution))
        return cls(
            signals=tuple(map(_rows, signals)),
            state=_rows(state),
            score=tuple(scores),
            contribution=tuple(contributions),
            state_after=_rows(after),
        )

    def __len__(self) -> int:
        """T, the samples of each car."""
        return len(self.signals)

    @property
    def widths(self) -> set[int]:
        """The lengths of the rows of signals and contributions; K alone in a valid one."""
        return {len(row) for rows in (*self.signals, *self.contribution) for row in rows}

    @property
    def inputs(self) -> tuple[Floats, Floats]:
        """signals (T, k, K) and the state (k, S) before the first sample."""
        return np.array(self.signals, np.float32), np.array(self.state, np.float32)

    def differences(self, step: Step) -> list[str]:
        """In words, where the results of `step` differ; empty if they are within the tolerances.

        A value that is not finite is a difference even if it was expected. Only the first sample that differs
        is reported, since all later ones follow from it.
        """
        if not len(self):
            return ["no golden vectors"]
        signals, state = self.inputs
        for number, sample in enumerate(signals):
            score, contribution, state = step(sample, state)
            if wrong := self._sample_differences(number, score, contribution):
                return wrong
        after = np.array(self.state_after)
        if state.shape != after.shape:
            return [f"states have the shape {state.shape}, not {after.shape}"]
        wrong_rows = ~_near(state, after, STATE_TOLERANCE).all(axis=1)
        return [f"car {car}: another state after {len(self)} samples" for car in np.flatnonzero(wrong_rows)]

    def _sample_differences(self, number: int, score: Floats, contribution: Floats) -> list[str]:
        expected, parts = np.array(self.score[number]), np.array(self.contribution[number])
        if score.shape != expected.shape or contribution.shape != parts.shape:
            return [f"outputs {score.shape} and {contribution.shape}, not {expected.shape} and {parts.shape}"]
        wrong = ~_near(score, expected, SCORE_TOLERANCE)
        # Contributions are signed and may be larger than the squared score that they add up to.
        largest = np.maximum(1, np.abs(parts).max(axis=1, initial=0))[:, None]
        wrong |= ~(np.abs(contribution - parts) <= SCORE_TOLERANCE * largest).all(axis=1)
        return [
            f"car {car}, sample {number}: score {score[car]}, expected {expected[car]}, "
            f"contributions off by up to {np.abs(contribution[car] - parts[car]).max():.2g}"
            for car in np.flatnonzero(wrong)
        ]


def _near(values: Floats, expected: NDArray[np.float64], tolerance: float) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = np.abs(values - expected) <= tolerance * np.maximum(1, np.abs(expected))
    return near


def _rows(values: Floats) -> Rows:
    return tuple(map(tuple, values.tolist()))
