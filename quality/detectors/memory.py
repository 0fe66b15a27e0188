"""Detectors that know each car's own baseline and remember how it has deviated lately.

The first samples of a car give its baseline, which is then frozen. From there on the deviations are averaged
over the memory before anything is squared: what stays adds up, what comes and goes cancels.
"""

import itertools
from abc import ABC, abstractmethod

import numpy as np

from contract.signals import signal_settings
from contract.telemetry import Floats
from quality.detectors import Lengths
from quality.detectors.stateless import Standard, inverse_covariance, norm, thinned

# The memory of a car changes slowly: a covariance needs few samples of each, and many cars.
_MEMORIES = 400_000
_GROUP_CARS = 16
_RIDGE = 1e-3


class _Memory(ABC):
    """What the two have in common: `deviations` of a car's samples, and the norm of what is remembered."""

    def __init__(self, seed: int, lengths: Lengths) -> None:
        self._lengths = lengths
        self._inverse: Floats

    @abstractmethod
    def _residuals(self, signals: Floats) -> Floats:
        """(cars, samples, k): in a unit in which healthy cars vary by about 1."""

    def _vector(self, signals: Floats) -> Floats:
        """(cars, samples, m): what is remembered of each car, 0 while it is learned."""
        learning = self._lengths.learning_samples
        residual = self._residuals(signals)
        residual -= residual[:, :learning].mean(axis=1, keepdims=True)
        residual[:, :learning] = 0
        return smoothed(residual, 1 / self._lengths.memory_samples)

    def _fit_norm(self, training: Floats) -> None:
        """The covariance of what healthy cars have in memory."""
        every = max(1, training.shape[0] * training.shape[1] // _MEMORIES)
        groups = range(0, len(training), _GROUP_CARS)
        learned = self._lengths.learning_samples + 2 * self._lengths.memory_samples
        rows = [self._vector(training[g : g + _GROUP_CARS])[:, learned::every] for g in groups]
        memories = np.concatenate(rows)
        self._inverse = inverse_covariance(memories.reshape(-1, memories.shape[-1]))

    def score(self, signals: Floats) -> Floats:
        """(cars, samples): Mahalanobis' norm of the memory."""
        groups = range(0, len(signals), _GROUP_CARS)
        return np.concatenate(
            [norm(self._vector(signals[g : g + _GROUP_CARS]), self._inverse) for g in groups]
        )


class ZBaseline(_Memory):
    """z-scores minus the car's baseline, remembered."""

    def fit(self, training: Floats) -> None:
        """Mean, standard deviation, and the covariance of the memories."""
        self._standard = Standard(training)
        self._fit_norm(training)

    def _residuals(self, signals: Floats) -> Floats:
        return self._standard(signals)


class LinearConditional(_Memory):
    """Each signal minus what a linear regression expects of it from the operating point, and its square too.

    The operating point is that of signals.toml; squares and products of its signals let the regression bend.
    A signal is never expected from itself.
    """

    def fit(self, training: Floats) -> None:
        """Regressions, spreads of what they leave, and the covariance of the memories."""
        told = signal_settings().signals
        self._standard = Standard(training)
        self._conditions = list(np.flatnonzero([s.condition for s in told]))
        rows = thinned(training)
        inputs, made_of = self._point(self._scaled(rows))
        outputs = self._standard(rows)
        self._weights = np.zeros((inputs.shape[1], outputs.shape[1]), np.float32)
        gram = inputs.T.astype(np.float64) @ inputs
        gram += _RIDGE * len(rows) * np.diag(np.arange(len(gram)) > 0)
        for column, signal in enumerate(self._standard.judged):
            see = np.array([signal not in of for of in made_of])
            moment = inputs[:, see].T.astype(np.float64) @ outputs[:, column]
            self._weights[see, column] = np.linalg.solve(gram[np.ix_(see, see)], moment)
        left = outputs - inputs @ self._weights
        self._spread = left.std(axis=0) + np.float32(1e-6)
        self._fit_norm(training)

    def _scaled(self, rows: Floats) -> Floats:
        """(n, conditions) standardised."""
        places = np.searchsorted(self._standard.judged, self._conditions)
        scaled = (rows[:, self._conditions] - self._standard.mean[places]) / self._standard.deviation[places]
        return np.asarray(scaled, np.float32)

    def _point(self, scaled: Floats) -> tuple[Floats, list[set[int]]]:
        """(n, 1 + k + k(k+1)/2) inputs of the regression, and which signals each is made of."""
        columns, made_of = [np.ones(len(scaled), np.float32)], [set[int]()]
        for a, first in enumerate(self._conditions):
            columns.append(scaled[:, a])
            made_of.append({int(first)})
            for b, second in enumerate(self._conditions[: a + 1]):
                columns.append(scaled[:, a] * scaled[:, b])
                made_of.append({int(first), int(second)})
        return np.stack(columns, axis=1), made_of

    def _residuals(self, signals: Floats) -> Floats:
        rows = signals.reshape(-1, signals.shape[-1])
        inputs, _ = self._point(self._scaled(rows))
        left = (self._standard(rows) - inputs @ self._weights) / self._spread
        return np.asarray(left.reshape(*signals.shape[:2], -1), np.float32)

    def _vector(self, signals: Floats) -> Floats:
        learning, share = self._lengths.learning_samples, 1 / self._lengths.memory_samples
        residual = self._residuals(signals)
        residual -= residual[:, :learning].mean(axis=1, keepdims=True)
        square = residual * residual
        square /= square[:, :learning].mean(axis=1, keepdims=True) + np.float32(1e-3)
        square -= 1
        residual[:, :learning] = 0
        square[:, :learning] = 0
        grown = np.log1p(np.maximum(smoothed(square, share), -0.99))
        return np.concatenate([smoothed(residual, share), grown], axis=2)


def smoothed(values: Floats, share: float) -> Floats:
    """(cars, samples, k) as `values`: the exponentially weighted mean over time; it begins at 0."""
    by_time = np.array(values.swapaxes(0, 1), np.float32, order="C")
    by_time *= np.float32(share)
    kept = np.float32(1 - share)
    for before, now in itertools.pairwise(by_time):
        np.add(now, kept * before, out=now)
    return by_time.swapaxes(0, 1)
