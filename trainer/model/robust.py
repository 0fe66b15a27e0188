"""Statistics that a few undetected faulty cars among the healthy ones do not move.

Arrays are (n,) or (n, k): n samples of k coordinates; `car` (n,) says which car each sample is of.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
CarNumbers = NDArray[np.integer[Any]]  # (n,) which car each of n rows is of: 0, 1, 2, …

# A car is suspect when the score that it exceeds in a tenth of its samples is this many robust deviations
# above that of the other cars: so a fault that came or went within the slice counts, too.
SUSPECT_DEVIATIONS, SUSPECT_QUANTILE = 5.0, 0.9
_TAIL_WEIGHTS = 1e-3, 10.0  # least and most that a sample counts in the precision of the tails
_MAD_TO_DEVIATION = 1.4826  # of a normal distribution


def centre_and_spread(values: NDArray[Any], floor: NDArray[Any]) -> tuple[F8, F8]:
    """(k,) medians, and (k,) standard deviations within the 0.5 to 99.5 % quantiles, at least `floor`."""
    low, centre, high = np.quantile(values, [0.005, 0.5, 0.995], axis=0)
    spread = np.clip(values, low, high).std(axis=0)
    return centre, np.maximum(spread, floor)


def ridge_regressions(
    inputs: NDArray[Any], outputs: NDArray[Any], visible: NDArray[np.bool_], ridge: float = 0.001
) -> tuple[F8, F8]:
    """Weights (k, m) and biases (m,): a ridge regression of each output on the inputs visible to it.

    inputs (n, k), outputs (n, m), both about standardised; visible (k, m).
    """
    k = inputs.shape[1]
    covariance = _covariance(np.hstack([inputs, outputs], dtype=np.float64))
    weights = np.zeros(visible.shape)
    for j, mask in enumerate(visible.T):
        gram = covariance[:k, :k][np.ix_(mask, mask)] + ridge * np.eye(mask.sum())
        weights[mask, j] = np.linalg.solve(gram, covariance[:k, k + j][mask])
    return weights, np.median(outputs, axis=0) - np.median(inputs, axis=0) @ weights


def _covariance(values: F8) -> F8:
    """(k, k) of values (n, k), which are centred in place: np.cov copies them twice more."""
    values -= values.mean(axis=0)
    return np.asarray(values.T @ values * (1 / (len(values) - 1)))


def precision(
    residual: NDArray[Any], shrinkage: float = 0.05, least: float | F8 = 1e-3, *, tails: bool = False
) -> F8:
    """(k, k) precision matrix (inverse covariance) divided by k, so that a typical norm is 1.

    The covariance is shrunk towards its diagonal, whose variances are at least `least` (k,). It is estimated
    three times, each time without the 3 % of the samples with the largest norm. `tails`: then once more, of
    all samples, each counted by the square of its norm, but at most by a few times the typical one: the very
    largest may be a faulty car's. A threshold lies in the tails of healthy cars, and in some directions these
    reach much further than the bulk of the samples shows.
    """
    samples, k = residual.astype(np.float64), residual.shape[1]
    weights = np.ones(len(samples))
    for step in range(4 if tails else 3):
        covariance = np.cov(samples.T, aweights=weights).reshape(k, k)
        diagonal = np.maximum(np.diag(covariance), least)
        covariance *= 1 - shrinkage
        np.fill_diagonal(covariance, diagonal)
        inverse = np.linalg.inv(covariance) / k
        square = np.einsum("ni,ij,nj->n", samples, inverse, samples, optimize=True)
        kept = square <= np.quantile(square, 0.97)
        weights = np.clip(square, *_TAIL_WEIGHTS) if step == 2 else kept.astype(np.float64)
    typical = max(float(np.median(square)), _TAIL_WEIGHTS[0]) if tails else 1.0
    return np.asarray((inverse + inverse.T) / (2 * typical))


def suspects(score: NDArray[Any], car: CarNumbers) -> NDArray[np.bool_]:
    """(n,): whether the sample is of a car whose high scores stand out from those of the other cars."""
    order = np.argsort(car, kind="stable")
    numbers, starts = np.unique(car[order], return_index=True)
    high = np.array([np.quantile(part, SUSPECT_QUANTILE) for part in np.split(score[order], starts[1:])])
    typical = np.median(high)
    limit = typical + SUSPECT_DEVIATIONS * _MAD_TO_DEVIATION * np.median(np.abs(high - typical))
    return np.isin(car, numbers[high > limit])


def within(values: NDArray[Any], car: CarNumbers, kept: float = 0.0) -> NDArray[Any]:
    """(n, k) values minus their car's mean, of which the share `kept` stays; a car's rows are together."""
    starts = np.flatnonzero(np.diff(car, prepend=-1))
    lengths = np.diff(starts, append=len(car))
    mean = np.add.reduceat(values, starts, axis=0, dtype=np.float64) / lengths[:, None]
    mean *= 1 - kept
    return np.asarray(values - np.repeat(mean, lengths, axis=0).astype(values.dtype))
