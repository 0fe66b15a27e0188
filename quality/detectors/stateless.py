"""Detectors that judge single samples: simple baselines of ten lines, and scikit-learn's isolation forest."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.signals import signal_settings
from contract.telemetry import Floats
from quality.detectors import Detector

_FITTED_ROWS = 400_000
_MOST = 100.0  # standard deviations: larger values are clipped
# A sample costs the forest 10 µs, hundreds of times as much as the others: it scores only every n-th sample,
# and a score holds until the next. Faults grow over hours and are not missed by it.
_FOREST_EVERY = 12


def thinned(samples: Floats, rows: int = _FITTED_ROWS) -> Floats:
    """About `rows` samples (n, k) of (cars, samples, k): every n-th sample of all cars."""
    cars, count = samples.shape[:2]
    step = max(1, cars * count // rows)
    return samples[:, ::step].reshape(-1, samples.shape[2])


class Standard:
    """z-scores of the judged signals: minus the training cars' mean, over their standard deviation."""

    def __init__(self, training: Floats) -> None:
        settings = signal_settings().signals
        self.judged = np.flatnonzero([signal.judged for signal in settings])
        rows = thinned(training)[:, self.judged].astype(np.float64)
        self.mean = rows.mean(axis=0).astype(np.float32)
        floor = np.array([settings[i].resolution for i in self.judged])
        self.deviation = np.maximum(rows.std(axis=0), floor).astype(np.float32)

    def __call__(self, signals: Floats) -> Floats:
        """z-scores (…, judged) of signals (…, K)."""
        z: Floats = signals[..., self.judged]
        z -= self.mean
        z /= self.deviation
        z.clip(-_MOST, _MOST, out=z)
        return z


def inverse_covariance(rows: NDArray[Any], shrinkage: float = 0.01) -> Floats:
    """(k, k) of (n, k), drawn a little towards its diagonal."""
    covariance = np.cov(rows.T.astype(np.float64))
    covariance = (1 - shrinkage) * covariance + shrinkage * np.diag(np.diag(covariance))
    return np.linalg.inv(covariance + 1e-9 * np.eye(len(covariance))).astype(np.float32)


def norm(rows: Floats, inverse: Floats) -> Floats:
    """(…,) Mahalanobis' distance of (…, k) from zero."""
    flat = rows.reshape(-1, rows.shape[-1])
    square = np.einsum("nk,nk->n", flat @ inverse, flat)
    return np.asarray(np.sqrt(np.maximum(square, 0)).reshape(rows.shape[:-1]))


class Chance(Detector):
    """Random scores: the recall that a budget of false alarms gives without looking at the signals."""

    def fit(self, training: Floats) -> None:
        """Seed the random numbers; there is nothing to learn."""
        self._random = np.random.default_rng(self._seed)

    def score(self, signals: Floats) -> Floats:
        """(cars, samples), uniform in [0, 1)."""
        return self._random.random(signals.shape[:2], np.float32)


class MaxAbsZ(Detector):
    """The signal furthest from its mean."""

    def fit(self, training: Floats) -> None:
        """Mean and standard deviation."""
        self._standard = Standard(training)

    def score(self, signals: Floats) -> Floats:
        """(cars, samples), in standard deviations."""
        return np.asarray(np.abs(self._standard(signals)).max(axis=-1))


class Mahalanobis(Detector):
    """The distance from the mean in units of the training samples' covariance (Mahalanobis 1936)."""

    def fit(self, training: Floats) -> None:
        """Mean and covariance."""
        self._standard = Standard(training)
        self._inverse = inverse_covariance(self._standard(thinned(training)))

    def score(self, signals: Floats) -> Floats:
        """(cars, samples)."""
        return norm(self._standard(signals), self._inverse)


class IsolationForest(Detector):
    """How few random splits isolate a sample (Liu, Ting, Zhou 2008), with scikit-learn's defaults."""

    def fit(self, training: Floats) -> None:
        """100 trees of 256 samples each, drawn from the training samples."""
        from sklearn.ensemble import IsolationForest as Forest

        self._standard, self._forest = Standard(training), Forest(random_state=self._seed)
        self._forest.fit(self._standard(thinned(training, 100_000)))

    def score(self, signals: Floats) -> Floats:
        """(cars, samples), 0 to 1."""
        cars, count = signals.shape[:2]
        rows = self._standard(signals[:, ::_FOREST_EVERY])
        scores = -self._forest.score_samples(rows.reshape(-1, rows.shape[-1])).astype(np.float32)
        return np.repeat(scores.reshape(cars, -1), _FOREST_EVERY, axis=1)[:, :count]
