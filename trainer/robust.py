"""Statistics that a few undetected faulty cars among the healthy ones do not move.

Arrays are (n,) or (n, k): n samples of k coordinates; `car` (n,) says whose sample it is, 0, 1, 2, …
"""

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
Cars = NDArray[np.integer[Any]]

# From here on asinh is straight for all that matters; far beyond, float32 would lose digits in it.
KNEE_MAX = 20.0
# A car is suspect when the score that it reaches in a tenth of its samples is so many robust deviations above
# that of the other cars: a fault that came or went in the slice counts as well.
SUSPECT_DEVIATIONS, SUSPECT_QUANTILE = 5.0, 0.9
# The tail of a score beyond this share of the samples is extrapolated: there it is made of too few cars.
_TAIL_FROM = 0.99
_NORMAL = NormalDist()


def centre_and_spread(values: NDArray[Any], floor: NDArray[Any]) -> tuple[F8, F8]:
    """(k,) medians, and (k,) standard deviations of the values within their 0.5 to 99.5 % quantiles."""
    low, centre, high = np.quantile(values, [0.005, 0.5, 0.995], axis=0)
    spread = np.clip(values, low, high).std(axis=0)
    return centre, np.maximum(spread, floor)


def leave_out_linear(
    inputs: NDArray[Any], outputs: NDArray[Any], visible: NDArray[np.bool_], ridge: float = 0.01
) -> tuple[F8, F8]:
    """Weights (k, m) and biases (m,) of the ridge regression of each output on the inputs it may see.

    inputs (n, k), outputs (n, m), both about standardised; visible (k, m).
    """
    k = inputs.shape[1]
    covariance = np.cov(np.hstack([inputs, outputs]).T.astype(np.float64))
    weights = np.zeros(visible.shape)
    for j, see in enumerate(visible.T):
        seen = covariance[:k, :k][np.ix_(see, see)] + ridge * np.eye(see.sum())
        weights[see, j] = np.linalg.solve(seen, covariance[:k, k + j][see])
    return weights, np.median(outputs, axis=0) - np.median(inputs, axis=0) @ weights


def bend(residual: NDArray[Any], floor: NDArray[Any]) -> tuple[F8, F8]:
    """(spread, knee), both (k,): knee * asinh(residual / spread / knee) has a normal distribution's 99 %.

    A coordinate whose residual has long tails in healthy life would set the threshold for all of them.
    """
    share = 0.99
    normal = _NORMAL.inv_cdf((1 + share) / 2)
    low, high = np.quantile(residual, [0.01, 0.99], axis=0)
    spread = np.maximum(np.clip(residual, low, high).std(axis=0), floor)
    reach = np.quantile(np.abs(residual), share, axis=0) / spread
    knees = np.geomspace(0.3, KNEE_MAX, 200)
    bent = knees * np.arcsinh(reach[:, None] / knees)
    return spread, knees[np.argmin(np.abs(bent - np.minimum(reach, normal)[:, None]), axis=1)]


def precision(residual: NDArray[Any], shrinkage: float = 0.05) -> F8:
    """(k, k) inverse covariance, drawn towards its diagonal, over k: a typical norm is then 1.

    The 3 % of the samples that it finds strangest are left out and it is estimated again, three times.
    """
    k, kept = residual.shape[1], residual.astype(np.float64)
    samples = kept
    for _ in range(3):
        covariance = np.cov(kept.T)
        diagonal = np.diag(np.maximum(np.diag(covariance), 1e-3))
        inverse = np.linalg.inv((1 - shrinkage) * covariance + shrinkage * diagonal) / k
        square = np.einsum("ni,ij,nj->n", samples, inverse, samples, optimize=True)
        kept = samples[square <= np.quantile(square, 0.97)]
    return np.asarray((inverse + inverse.T) / 2)


def suspects(score: NDArray[Any], car: Cars) -> NDArray[np.bool_]:
    """(n,): whether the sample is of a car whose high scores stand out from those of the other cars."""
    order = np.argsort(car, kind="stable")
    numbers, starts = np.unique(car[order], return_index=True)
    high = np.array([np.quantile(part, SUSPECT_QUANTILE) for part in np.split(score[order], starts[1:])])
    typical = np.median(high)
    limit = typical + SUSPECT_DEVIATIONS * 1.4826 * np.median(np.abs(high - typical))
    return np.isin(car, numbers[high > limit])


def thresholds(score: NDArray[Any], car: Cars, alarm_share: float, weights: NDArray[Any]) -> F8:
    """(b,) scores that this share of the samples of unsuspected cars exceeds, one for each row of weights.

    weights (b, cars): how often each car counts. Few cars make the last thousandth of the samples, and which
    ones is chance. So the tail beyond 1 % is that of a normal distribution of the score's cube root, through
    the median and the 1 % (measured on 12 simulated fleets of 200 cars at a share of 0.001: 1.1 times the
    share on 3 000 other cars, a factor 1.9 either way; the plain quantile 0.3 times, a factor 3.3).
    """
    trusted = ~suspects(score, car)
    root, car = np.cbrt(score[trusted].astype(np.float64)), car[trusted]
    order = np.argsort(root)
    root, car = root[order], car[order]
    wanted = [1 - alarm_share] if alarm_share >= 1 - _TAIL_FROM else [0.5, _TAIL_FROM]
    found = np.empty((len(weights), len(wanted)))
    for row, weight in enumerate(weights):
        below = np.cumsum(weight[car])
        found[row] = root[np.minimum(np.searchsorted(below, np.array(wanted) * below[-1]), len(root) - 1)]
    if len(wanted) == 2:
        middle, high = found.T
        deviation = (high - middle) / _NORMAL.inv_cdf(_TAIL_FROM)
        found = (middle + deviation * _NORMAL.inv_cdf(1 - alarm_share))[:, None]
    return np.asarray(found[:, 0] ** 3)
