"""What is fitted to the training cars by statistics: the numbers that the graph holds as constants."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats
from trainer.model import robust
from trainer.model.domain import Domain
from trainer.model.robust import CarNumbers
from trainer.model.state import Window

# Standardised values are clipped here: further off says no more, and numbers stay finite.
COORDINATE_MAX = 100.0
_NORM_MAX = 20.0  # spreads at which deviations are clipped before the norm is fitted
# Inputs of the regression are clipped half as far again from the median as nearly all training samples are.
_INPUT_QUANTILES, INPUT_BEYOND = (0.001, 0.999), 1.5
# A car whose variance in the learning period is this many times the usual one is of a kind that no training
# car is, and is not judged before a model has learned its kind. Healthy cars reach 4, an unknown kind 10.
STRANGE = 7.0
_TARGET_MAX = 8.0  # spreads: targets are clipped to it when the regression is fitted
# A residual counts by itself beyond twice what nearly all of the fleet's samples have.
_LIMIT_QUANTILE, _LIMIT_BEYOND = 0.99998, 2.0
# The most that one sample counts in the moving average of the deviation, in spreads within a car.
_PULL_SPREADS = 20.0
# With this many samples half of a car's excess variance is the car's own, and half is chance.
_VARIANCE_SAMPLES = 60
# A slice shows how a car varies once the variance of its operating point is this share of the fleet's.
_SHOWN_SHARE = 0.5


class Constants:
    """The numbers of a detector; float64 here, float32 in the graph.

    Sizes: `width` coordinates, J judged signals, I = width + conditions inputs of the regression, M = J +
    restless signals in the norm.
    """

    def __init__(self, domain: Domain, window: Window, values: Floats) -> None:
        """Constants that standardise coordinates (n, width) and predict 0 for all of them, until fitted."""
        judged, width = int(domain.judged.sum()), domain.width
        inputs, in_norm = width + int(domain.conditions.sum()), judged + int(domain.restless.sum())
        self.domain, self.window = domain, window
        # (width,) median of each coordinate, and its robust standard deviation
        self.centre, self.spread = robust.centre_and_spread(values, domain.resolution)
        self.low = np.full(inputs, -COORDINATE_MAX)  # (I,) lower clip of the inputs, standardised
        self.high = np.full(inputs, COORDINATE_MAX)  # (I,) upper clip
        self.fill = np.zeros((width, width))  # weights that impute a missing coordinate from the others
        self.fill_bias = np.zeros(width)
        self.linear = np.zeros((inputs, judged))  # (I, J) weights of the regression
        self.bias = np.zeros(judged)  # (J,)
        self.limit = np.full(judged, np.inf)  # (J,) residuals beyond it count by themselves; in resolutions
        # (J,) the most that one deviation counts in the moving average; in resolutions
        self.pull = np.full(judged, np.inf)
        # (M,) typical value in healthy cars: 0 for deviations, the rate for repeats
        self.usual = np.zeros(in_norm)
        self.precision = np.eye(in_norm)  # (M, M) matrix of the norm
        # Weight of the baseline in the score: 0 if the training cars show how a car varies, up to 1 if their
        # slices are too short for it, so that an unusual baseline may be a fault.
        self.baseline_weight = 0.0
        self.usual_variance = 1.0  # median over cars of CarState.variance

    @property
    def spread_within(self) -> NDArray[Any]:
        """(J,) spread of the residual within a car, in resolutions."""
        return np.asarray(self.pull / _PULL_SPREADS)

    @property
    def strange_variance(self) -> float:
        """The variance of the learning period from which a car's averages are not judged."""
        return STRANGE * self.usual_variance

    @property
    def variance_confidence(self) -> float:
        """0..1: how far to believe that a car's variance in the learning period is its own, not chance."""
        return self.window.learning_samples / (self.window.learning_samples + _VARIANCE_SAMPLES)

    @property
    def unit(self) -> NDArray[Any]:
        """(J,) resolutions in a spread of the coordinate that judges a signal."""
        targets = self.domain.targets()[self.domain.judged]
        return np.asarray(self.spread[targets] / self.domain.resolution[targets])


def fit_regression(constants: Constants, inputs: Floats, targets: Floats, car: CarNumbers) -> None:
    """Fit imputation and regression: inputs (n, I), targets (n, J), both standardised, of cars (n,).

    They are fitted within cars: each car's own mean is taken out of both, as its baseline is when the car is
    judged, because differences between cars (how they fill their tyres) teach nothing about faults. Where the
    slices are too short to show how a car varies, part of the mean stays: differences between cars are then
    the best guess at it.
    """
    width = constants.domain.width
    kept = constants.baseline_weight = _unshown(constants.domain, inputs[:, :width], car)
    low, high = INPUT_BEYOND * np.quantile(inputs, _INPUT_QUANTILES, axis=0)
    constants.low, constants.high = np.minimum(low, 0), np.maximum(high, 0)
    inputs = np.clip(inputs, constants.low, constants.high)
    targets = np.clip(targets, -_TARGET_MAX, _TARGET_MAX)
    centred = robust.within(inputs[:, :width], car, kept)
    constants.fill, _ = robust.ridge_regressions(centred, centred, constants.domain.helpful())
    del centred  # a fifth of the memory that is needed next
    constants.fill_bias = np.zeros(width)
    constants.linear, _ = robust.ridge_regressions(
        robust.within(inputs, car, kept), robust.within(targets, car, kept), visible_inputs(constants.domain)
    )
    constants.bias = np.median(targets - inputs @ constants.linear, axis=0)


def _unshown(domain: Domain, values: Floats, car: CarNumbers) -> float:
    """0..1: how little the rows (n, width) show of how a car varies, measured by its operating point.

    In 20 s a car hardly leaves its road; in hours it has been nearly everywhere that the others have been.
    """
    point = values[:, domain.conditions]
    if not point.shape[1]:
        return 0.0
    share = robust.within(point, car).var(axis=0) / np.maximum(point.var(axis=0), 1e-9)
    return float(np.clip(1 - np.median(share) / _SHOWN_SHARE, 0, 1))


def visible_inputs(domain: Domain) -> NDArray[np.bool_]:
    """(I, J): whether an input may be used to predict a judged signal, that is, is not made of it."""
    visible = domain.visible()[:, domain.judged]
    return np.concatenate([visible, visible[domain.conditions]])


def fit_limits(constants: Constants, residual: Floats, car: CarNumbers) -> None:
    """Fit `limit` and `pull` to residuals (n, J) of training cars, in resolutions."""
    constants.limit = _LIMIT_BEYOND * np.maximum(np.quantile(np.abs(residual), _LIMIT_QUANTILE, axis=0), 1)
    own = robust.within(residual, car)
    low, high = np.quantile(own, [0.005, 0.995], axis=0)
    constants.pull = _PULL_SPREADS * np.maximum(np.clip(own, low, high).std(axis=0), 1)


def fit_norm(constants: Constants, vectors: Floats, *, tails: bool) -> None:
    """Fit `usual` and `precision` to the vectors (n, M) of healthy cars; constant components get a floor.

    `tails`: the rare ones count most, as in `robust.precision`.
    """
    judged = int(constants.domain.judged.sum())
    samples = constants.window.memory_samples
    # A single repeat by chance moves the repeat rate by 1 / samples: that counts as two deviations, no more.
    floor = np.concatenate(
        [np.full(judged, 0.3 / np.sqrt(samples)), np.full(vectors.shape[1] - judged, 0.5 / samples)]
    )
    usual, spread = robust.centre_and_spread(vectors, floor)
    constants.usual = np.where(np.arange(len(usual)) < judged, 0.0, usual)  # deviations are from the baseline
    scaled = np.clip((vectors - constants.usual) / spread, -_NORM_MAX, _NORM_MAX)
    least = np.where(spread > floor, 1e-3, 1.0)  # a component that never moves in healthy cars has its floor
    constants.precision = robust.precision(scaled, least=least, tails=tails) / spread / spread[:, None]
