"""Detectors with each car's own baseline and a moving average of its deviations.

The first samples of a car give its baseline, which is then frozen. Afterwards the deviations are averaged
exponentially before anything is squared: lasting deviations remain, passing ones cancel.
"""

import itertools
from abc import abstractmethod
from collections.abc import Iterator

import numpy as np

from contract.signals import signal_settings
from contract.telemetry import Floats
from quality.detectors import Detector, Indices
from quality.detectors.stateless import Standard, inverse_covariance, norm, thinned

# A car's average changes slowly: the covariance needs few samples per car, and many cars.
_MEMORIES = 400_000
_GROUP_CARS = 16
_RIDGE = 1e-3


class _Memory(Detector):
    """The parts that both have in common: residuals, their moving average and its Mahalanobis norm."""

    @abstractmethod
    def _residuals(self, signals: Floats) -> Floats:
        """Residuals (cars, samples, k), in units in which healthy cars vary by about 1."""

    def _deviations(self, signals: Floats) -> Floats:
        """Residuals (cars, samples, k) minus the car's own baseline."""
        residual = self._residuals(signals)
        residual -= residual[:, : self._window.learning_samples].mean(axis=1, keepdims=True)
        return residual

    def _averaged(self, values: Floats) -> Floats:
        """The exponentially weighted mean over time of (cars, samples, k); 0 while a car is learned."""
        by_time = np.array(values.swapaxes(0, 1), np.float32, order="C")
        by_time[: self._window.learning_samples] = 0
        share = 1 / self._window.memory_samples
        by_time *= np.float32(share)
        kept = np.float32(1 - share)
        for before, now in itertools.pairwise(by_time):
            np.add(now, kept * before, out=now)
        return by_time.swapaxes(0, 1)

    def _vector(self, signals: Floats) -> Floats:
        """The averaged deviations (cars, samples, m)."""
        return self._averaged(self._deviations(signals))

    def _vectors(self, signals: Floats) -> Iterator[Floats]:
        """`_vector` of one group of cars after the other."""
        return (self._vector(signals[g : g + _GROUP_CARS]) for g in range(0, len(signals), _GROUP_CARS))

    def _fit_norm(self, training: Floats) -> None:
        """Fit the covariance of healthy cars' averaged deviations."""
        every = max(1, training.shape[0] * training.shape[1] // _MEMORIES)
        learned = round(self._window.learning_samples + 2 * self._window.memory_samples)
        memories = np.concatenate([vector[:, learned::every] for vector in self._vectors(training)])
        self._inverse = inverse_covariance(memories.reshape(-1, memories.shape[-1]))

    def score(self, signals: Floats) -> Floats:
        """Scores (cars, samples): the Mahalanobis norm of the averaged deviations."""
        return np.concatenate([norm(vector, self._inverse) for vector in self._vectors(signals)])


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
        self._standard = Standard(training)
        self._conditions = np.flatnonzero([signal.condition for signal in signal_settings().signals])
        rows = thinned(training)
        inputs, outputs = self._inputs(rows), self._standard(rows)
        self._weights = np.zeros((inputs.shape[1], outputs.shape[1]), np.float32)
        gram = inputs.T.astype(np.float64) @ inputs
        gram += _RIDGE * len(rows) * np.diag(np.arange(len(gram)) > 0)
        sources = np.array([-1, *self._conditions])[np.stack(self._factors())]
        for column, signal in enumerate(self._standard.judged):
            see = (sources != signal).all(axis=0)
            moment = inputs[:, see].T.astype(np.float64) @ outputs[:, column]
            self._weights[see, column] = np.linalg.solve(gram[np.ix_(see, see)], moment)
        self._spread = (outputs - inputs @ self._weights).std(axis=0) + np.float32(1e-6)
        self._fit_norm(training)

    def _factors(self) -> tuple[Indices, Indices]:
        """The two factors of each input: indices into one and the k conditions."""
        return np.tril_indices(len(self._conditions) + 1)

    def _inputs(self, rows: Floats) -> Floats:
        """(n, 1 + k + k(k+1)/2) one, the standardised operating point, its squares and products."""
        columns = np.searchsorted(self._standard.judged, self._conditions)
        point = rows[:, self._conditions] - self._standard.mean[columns]
        point /= self._standard.deviation[columns]
        point = np.insert(point, 0, 1, axis=1)
        first, second = self._factors()
        return np.asarray(point[:, first] * point[:, second])

    def _residuals(self, signals: Floats) -> Floats:
        rows = signals.reshape(-1, signals.shape[-1])
        left = (self._standard(rows) - self._inputs(rows) @ self._weights) / self._spread
        return np.asarray(left.reshape(*signals.shape[:2], -1), np.float32)

    def _vector(self, signals: Floats) -> Floats:
        residual = self._deviations(signals)
        square = residual * residual
        square /= square[:, : self._window.learning_samples].mean(axis=1, keepdims=True) + np.float32(1e-3)
        square -= 1
        grown = np.log1p(np.maximum(self._averaged(square), -0.99))
        return np.concatenate([self._averaged(residual), grown], axis=2)
