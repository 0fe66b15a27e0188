"""Golden vectors: what a model must compute on whatever processor it runs, sample after sample."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Row = tuple[float, ...]
Rows = tuple[Row, ...]
# One sample of each of k cars: signals (k, K), state (k, S) to score (k,), contribution (k, K), state (k, S).
Step = Callable[[Floats, Floats], tuple[Floats, Floats, Floats]]

# Relative to max(1, |value|), of a contribution to the largest one of its row: float32 on other kernels.
SCORE_TOLERANCE = 1e-5
STATE_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Golden:
    """A closed loop: T samples of k cars, each sample's states being what the one before left.

    signals (T, k, K), score (T, k), contribution (T, k, K); state and state_after (k, S), before the first
    sample and after the last; S is 0 for a graph without state. The cars of a graph with state are a new one,
    one shortly before the end of its learning period and a warm one.
    """

    signals: tuple[Rows, ...]
    state: Rows
    score: Rows
    contribution: tuple[Rows, ...]
    state_after: Rows

    @classmethod
    def of(cls, signals: Floats, state: Floats, step: Step) -> "Golden":
        """What `step` makes of signals (T, k, K) and state (k, S)."""
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
    def inputs(self) -> tuple[Floats, Floats]:
        """signals (T, k, K) and the state (k, S) before the first sample."""
        return np.array(self.signals, np.float32), np.array(self.state, np.float32)

    def differences(self, step: Step) -> list[str]:
        """What the model, run by `step`, computes otherwise, in words; empty where all is as it must be.

        A value that is not finite is a difference, expected or not. Ends with
        the first sample that differs, since all later ones follow from it.
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
            return [f"states of the shape {state.shape}, not {after.shape}"]
        wrong_rows = ~_near(state, after, STATE_TOLERANCE).all(axis=1)
        return [f"car {car}: another state after {len(self)} samples" for car in np.flatnonzero(wrong_rows)]

    def _sample_differences(self, number: int, score: Floats, contribution: Floats) -> list[str]:
        expected, parts = np.array(self.score[number]), np.array(self.contribution[number])
        if score.shape != expected.shape or contribution.shape != parts.shape:
            return [f"outputs {score.shape} and {contribution.shape}, not {expected.shape} and {parts.shape}"]
        wrong = ~_near(score, expected, SCORE_TOLERANCE)
        # Contributions have signs and may be larger than the score squared that they add up to.
        largest = np.maximum(1, np.abs(parts).max(axis=1, initial=0))[:, None]
        wrong |= ~(np.abs(contribution - parts) <= SCORE_TOLERANCE * largest).all(axis=1)
        return [
            f"car {car}, sample {number}: score {score[car]}, expected {expected[car]}, "
            f"contributions off by up to {np.abs(contribution[car] - parts[car]).max():.2g}"
            for car in np.flatnonzero(wrong)
        ]


def _near(found: Floats, expected: NDArray[np.float64], tolerance: float) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = np.abs(found - expected) <= tolerance * np.maximum(1, np.abs(expected))
    return near


def _rows(values: Floats) -> Rows:
    return tuple(map(tuple, values.tolist()))
