"""Detectors with each car's own baseline and a moving average of its deviations.

The first samples of a car give its baseline, which is then frozen. Afterwards the deviations are averaged
exponentially before anything is squared: lasting deviations remain, passing ones cancel.
"""

import itertools
from abc import ABC, abstractmethod

import numpy as np

from contract.signals import signal_settings
from contract.telemetry import Floats
from quality.detectors import Lengths
from quality.detectors.stateless import Standard, inverse_covariance, norm, thinned

# A car's average changes slowly: the covariance needs few samples per car, and many cars.
_MEMORIES = 400_000
_GROUP_CARS = 16
_RIDGE = 1e-3


class _Memory(ABC):
    """The parts that both have in common: residuals, their moving average and its Mahalanobis norm."""

    def __init__(self, seed: int, lengths: Lengths) -> None:
        self._lengths = lengths
        self._inverse: Floats

    @abstractmethod
    def _residuals(self, signals: Floats) -> Floats:
        """Residuals (cars, samples, k), in units in which healthy cars vary by about 1."""

    def _vector(self, signals: Floats) -> Floats:
        """The averaged deviations (cars, samples, m); 0 while a car is learned."""
        learning = self._lengths.learning_samples
        residual = self._residuals(signals)
        residual -= residual[:, :learning].mean(axis=1, keepdims=True)
        residual[:, :learning] = 0
        return smoothed(residual, 1 / self._lengths.memory_samples)

    def _fit_norm(self, training: Floats) -> None:
        """Fit the covariance of healthy cars' averaged deviations."""
        every = max(1, training.shape[0] * training.shape[1] // _MEMORIES)
        groups = range(0, len(training), _GROUP_CARS)
        learned = self._lengths.learning_samples + 2 * self._lengths.memory_samples
        rows = [self._vector(training[g : g + _GROUP_CARS])[:, learned::every] for g in groups]
        memories = np.concatenate(rows)
        self._inverse = inverse_covariance(memories.reshape(-1, memories.shape[-1]))

    def score(self, signals: Floats) -> Floats:
        """Scores (cars, samples): the Mahalanobis norm of the averaged deviations."""
        groups = range(0, len(signals), _GROUP_CARS)
        return np.concatenate(
            [norm(self._vector(signals[g : g + _GROUP_CARS]), self._inverse) for g in groups]
        )


class ZBaseline(_Memory):
    """Averaged z-scores minus the car's baseline."""

    def fit(self, training: Floats) -> None:
        """Fit mean, standard deviation, and the covariance of the averages."""
        self._standard = Standard(training)
        self._fit_norm(training)

    def _residuals(self, signals: Floats) -> Floats:
        return self._standard(signals)


class LinearConditional(_Memory):
    """Each signal minus its linear regression on the operating point; the squares of these residuals too.

    signals.toml names the signals of the operating point. Their squares and products are inputs too, so that
    the regression can bend. A signal is never an input of its own regression.
    """

    def fit(self, training: Floats) -> None:
        """Fit the regressions, the spreads of their residuals, and the covariance of the averages."""
        settings = signal_settings().signals
        self._standard = Standard(training)
        self._conditions = list(np.flatnonzero([s.condition for s in settings]))
        rows = thinned(training)
        inputs, made_of = self._point(self._scaled(rows))
        outputs = self._standard(rows)
        self._weights = np.zeros((inputs.shape[1], outputs.shape[1]), np.float32)
        gram = inputs.T.astype(np.float64) @ inputs
        gram += _RIDGE * len(rows) * np.diag(np.arange(len(gram)) > 0)
        for column, signal in enumerate(self._standard.judged):
            see = np.array([signal not in sources for sources in made_of])
            moment = inputs[:, see].T.astype(np.float64) @ outputs[:, column]
            self._weights[see, column] = np.linalg.solve(gram[np.ix_(see, see)], moment)
        left = outputs - inputs @ self._weights
        self._spread = left.std(axis=0) + np.float32(1e-6)
        self._fit_norm(training)

    def _scaled(self, rows: Floats) -> Floats:
        """The operating point (n, conditions), standardised."""
        columns = np.searchsorted(self._standard.judged, self._conditions)
        scaled = (rows[:, self._conditions] - self._standard.mean[columns]) / self._standard.deviation[
            columns
        ]
        return np.asarray(scaled, np.float32)

    def _point(self, scaled: Floats) -> tuple[Floats, list[set[int]]]:
        """(inputs of the regression (n, 1 + k + k(k+1)/2), the signals that each input is made of)."""
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
    """The exponentially weighted mean over time of values (cars, samples, k); it begins at 0."""
    by_time = np.array(values.swapaxes(0, 1), np.float32, order="C")
    by_time *= np.float32(share)
    kept = np.float32(1 - share)
    for before, now in itertools.pairwise(by_time):
        np.add(now, kept * before, out=now)
    return by_time.swapaxes(0, 1)
