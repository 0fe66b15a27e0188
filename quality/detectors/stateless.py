"""Detectors that judge single samples: simple baselines of ten lines."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.signals import signal_settings
from contract.telemetry import Floats
from quality.detectors import Lengths

_FITTED_ROWS = 400_000
_MOST = 100.0  # standard deviations: larger values are clipped


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
    distance: Floats = np.sqrt(np.maximum(square, 0)).reshape(rows.shape[:-1])
    return distance


class MaxAbsZ:
    """The signal furthest from its mean."""

    def __init__(self, seed: int, lengths: Lengths) -> None:
        self._standard: Standard

    def fit(self, training: Floats) -> None:
        """Mean and standard deviation."""
        self._standard = Standard(training)

    def score(self, signals: Floats) -> Floats:
        """(cars, samples), in standard deviations."""
        scores: Floats = np.abs(self._standard(signals)).max(axis=-1)
        return scores


class Mahalanobis:
    """The distance from the mean in units of the training samples' covariance (Mahalanobis 1936)."""

    def __init__(self, seed: int, lengths: Lengths) -> None:
        self._standard: Standard
        self._inverse: Floats

    def fit(self, training: Floats) -> None:
        """Mean and covariance."""
        self._standard = Standard(training)
        self._inverse = inverse_covariance(self._standard(thinned(training)))

    def score(self, signals: Floats) -> Floats:
        """(cars, samples)."""
        return norm(self._standard(signals), self._inverse)
