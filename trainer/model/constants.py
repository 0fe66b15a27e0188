"""What the statistics of the training cars give: the numbers that the graph holds as constants."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats
from trainer.model import robust
from trainer.model.domain import Domain
from trainer.model.robust import CarNumbers
from trainer.model.state import Memory

# Standardised: beyond these a value says no more than "far off", and numbers stay finite.
COORDINATE_MOST = 100.0
# What expectations are made of ends half as far again from the median as nearly all of the training samples.
_CONDITION_QUANTILES, _CONDITION_BEYOND = (0.001, 0.999), 1.5
_TARGET_MOST = 8.0  # spreads: what a regression is fitted to goes no further
# A residual beyond what nearly all of the fleet's samples have, and half as far again, is news by itself.
_LIMIT_QUANTILE, _LIMIT_BEYOND = 0.99998, 2.0
# How far a single sample can pull a car's memory, in spreads of the residual within a car.
_PULL_MOST = 20.0
# By so many samples a car's restlessness is as much its own as chance.
_UNREST_SAMPLES = 60
# A slice shows how a car varies once its operating points have this share of the fleet's variance.
_SHOWN_SHARE = 0.5


@dataclass
class Constants:
    """What the statistics of the training cars give; the graph holds them as constants (float32).

    Of the coordinates: `centre`, `spread` (width,). Of what expectations are made of, the standardised
    coordinates and the remembered operating point: `low` and `high` (seen,). Of a coordinate from those that
    help to fill it: `fill` (width, width), `fill_bias` (width,). Of a judged signal from what is seen:
    `linear` (seen, J), `bias` (J,). Of the residual, in resolutions: `limit` (J,), beyond which it is news by
    itself, and `pull` (J,), the most that a sample's deviation counts. Of the memory's vector (M,), the
    deviations and the repeats: `usual` (M,), and the matrix of its norm, `norm` (M, M). `unshown`: how little
    the training rows showed of how a car varies; so little its baseline is believed. `usual_unrest`: of a
    car in the middle of the fleet; one that is restless by nature counts less by as much.
    """

    domain: Domain
    memory: Memory
    centre: NDArray[Any]
    spread: NDArray[Any]
    low: NDArray[Any]
    high: NDArray[Any]
    fill: NDArray[Any]
    fill_bias: NDArray[Any]
    linear: NDArray[Any]
    bias: NDArray[Any]
    limit: NDArray[Any]
    pull: NDArray[Any]
    usual: NDArray[Any]
    norm: NDArray[Any]
    unshown: float = 0.0
    usual_unrest: float = 1.0

    @property
    def spread_within(self) -> NDArray[Any]:
        """(J,) of a residual within a car, in resolutions."""
        return np.asarray(self.pull / _PULL_MOST)

    @property
    def unrest_known(self) -> float:
        """0..1: how much of a car's restlessness is the car's, and not chance of so few samples."""
        return self.memory.learning_samples / (self.memory.learning_samples + _UNREST_SAMPLES)

    @property
    def unit(self) -> NDArray[Any]:
        """(J,) resolutions in a spread of what judges a signal."""
        targets = self.domain.targets()[self.domain.judged]
        return np.asarray(self.spread[targets] / self.domain.resolution[targets])


def blank(domain: Domain, memory: Memory, values: Floats) -> Constants:
    """Of a detector that knows centre and spread of its coordinates (n, width), and expects nothing."""
    centre, spread = robust.centre_and_spread(values, domain.resolution)
    judged = int(domain.judged.sum())
    seen = domain.width + int(domain.conditions.sum())
    remembered = judged + int(domain.restless.sum())
    return Constants(
        domain=domain,
        memory=memory,
        centre=centre,
        spread=spread,
        low=np.full(seen, -COORDINATE_MOST),
        high=np.full(seen, COORDINATE_MOST),
        fill=np.zeros((domain.width, domain.width)),
        fill_bias=np.zeros(domain.width),
        linear=np.zeros((seen, judged)),
        bias=np.zeros(judged),
        limit=np.full(judged, np.inf),
        pull=np.full(judged, np.inf),
        usual=np.zeros(remembered),
        norm=np.eye(remembered),
    )


def fit_linear(constants: Constants, seen: Floats, wanted: Floats, car: CarNumbers) -> None:
    """Fit expectations within cars: seen (n, seen), wanted (n, J), both standardised, of cars (n,).

    What differs between cars only, like the filling of their tyres, teaches nothing: a car's own mean is
    taken out of both, as its baseline is when it is judged. As far as a slice is too short to show how a car
    varies, it stays in: what tells cars apart is then the best guess at it.
    """
    width = constants.domain.width
    kept = constants.unshown = unshown(constants.domain, seen[:, :width], car)
    low, high = _CONDITION_BEYOND * np.quantile(seen, _CONDITION_QUANTILES, axis=0)
    constants.low, constants.high = np.minimum(low, 0), np.maximum(high, 0)
    seen = np.clip(seen, constants.low, constants.high)
    wanted = np.clip(wanted, -_TARGET_MOST, _TARGET_MOST)
    of_cars = robust.within(seen[:, :width], car, kept)
    constants.fill, _ = robust.leave_out_linear(of_cars, of_cars, constants.domain.helpful())
    del of_cars  # a fifth of what is held next
    constants.fill_bias = np.zeros(width)
    constants.linear, _ = robust.leave_out_linear(
        robust.within(seen, car, kept), robust.within(wanted, car, kept), sight(constants.domain)
    )
    constants.bias = np.median(wanted - seen @ constants.linear, axis=0)


def unshown(domain: Domain, values: Floats, car: CarNumbers) -> float:
    """0..1: how little the rows (n, width) show of how a car varies, by its operating point.

    In 20 s a car hardly leaves its road; in hours it has been nearly everywhere that the others have been.
    """
    point = values[:, domain.conditions]
    if not point.shape[1]:
        return 0.0
    share = robust.within(point, car).var(axis=0) / np.maximum(point.var(axis=0), 1e-9)
    return float(np.clip(1 - np.median(share) / _SHOWN_SHARE, 0, 1))


def sight(domain: Domain) -> NDArray[np.bool_]:
    """(seen, J): whether what is seen may be used to expect a judged signal, that is, is not made of it."""
    visible = domain.visible()[:, domain.judged]
    return np.concatenate([visible, visible[domain.conditions]])


def fit_limits(constants: Constants, residual: Floats, car: CarNumbers) -> None:
    """From residuals (n, J) of training cars, in resolutions: what is news by itself, and what may pull."""
    constants.limit = _LIMIT_BEYOND * np.maximum(np.quantile(np.abs(residual), _LIMIT_QUANTILE, axis=0), 1)
    own = robust.within(residual, car)
    low, high = np.quantile(own, [0.005, 0.995], axis=0)
    constants.pull = _PULL_MOST * np.maximum(np.clip(own, low, high).std(axis=0), 1)


def fit_norm(constants: Constants, remembered: Floats) -> None:
    """From what healthy cars (n, M) have in memory; a memory that never moves has a floor."""
    judged = int(constants.domain.judged.sum())
    # A sample that repeats by chance moves a memory by one part: two deviations, no more.
    samples = constants.memory.memory_samples
    floor = np.concatenate(
        [np.full(judged, 0.3 / np.sqrt(samples)), np.full(remembered.shape[1] - judged, 0.5 / samples)]
    )
    usual, spread = robust.centre_and_spread(remembered, floor)
    constants.usual = np.where(
        np.arange(len(usual)) < judged, 0.0, usual
    )  # a deviation is from the car's own
    scaled = np.clip((remembered - constants.usual) / spread, -robust.FAR, robust.FAR)
    least = np.where(spread > floor, 1e-3, 1.0)  # what never moves in healthy life counts as its floor
    constants.norm = robust.precision(scaled, least=least) / spread / spread[:, None]
