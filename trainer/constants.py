"""What the statistics of the training cars give: the numbers that the graph holds as constants."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats
from trainer import robust
from trainer.coordinates import COUNT, RESOLUTION, SCORED, coordinates, helpful, targets, visible

# Standardised: beyond these a value says no more than "far off", and numbers stay finite.
COORDINATE_MOST = 100.0
# What expectations are made of ends half as far again from the median as nearly all of the training samples.
_CONDITION_QUANTILES, _CONDITION_BEYOND = (0.001, 0.999), 1.5


@dataclass
class Constants:
    """What the statistics of the training cars give; the graph holds them as constants (float32).

    Of the coordinates: `centre`, `spread`, and standardised, `low` and `high` (WIDTH,). Of a coordinate from
    those that help to fill it: `fill` (WIDTH, WIDTH), `fill_bias` (WIDTH,). Of a signal from coordinates:
    `linear` (WIDTH, 18), `bias` (18,). Of the residual: `residual_spread`, `knee` (18,), `norm` (18, 18).
    """

    centre: NDArray[Any]
    spread: NDArray[Any]
    low: NDArray[Any]
    high: NDArray[Any]
    fill: NDArray[Any]
    fill_bias: NDArray[Any]
    linear: NDArray[Any]
    bias: NDArray[Any]
    residual_spread: NDArray[Any]
    knee: NDArray[Any]
    norm: NDArray[Any]


def linear_constants(signals: Floats) -> Constants:
    """The whole linear detector from healthy training samples (n, 18), all finite."""
    values = np.asarray(coordinates(signals))
    centre, spread = robust.centre_and_spread(values, RESOLUTION)
    placed = np.clip((values - centre) / spread, -COORDINATE_MOST, COORDINATE_MOST)
    low, high = _CONDITION_BEYOND * np.quantile(placed, _CONDITION_QUANTILES, axis=0)
    seen, wanted = np.clip(placed, low, high), np.clip(placed[:, targets()], -6, 6)
    fill, fill_bias = robust.leave_out_linear(seen, seen, helpful())
    linear, bias = robust.leave_out_linear(seen, wanted, visible())
    constants = Constants(
        centre=centre,
        spread=spread,
        low=low,
        high=high,
        fill=fill,
        fill_bias=fill_bias,
        linear=linear,
        bias=bias,
        residual_spread=np.ones(COUNT),
        knee=np.ones(COUNT),
        norm=np.eye(COUNT),
    )
    set_norm(constants, placed[:, targets()] - seen @ linear - bias)
    return constants


def set_norm(constants: Constants, residual: NDArray[Any]) -> None:
    """Fit bend and norm to the residuals (n, 18) of healthy training samples."""
    floor = (RESOLUTION / constants.spread)[targets()]
    constants.residual_spread, constants.knee = robust.bend(residual, floor)
    bent = _bent(constants, residual)[:, SCORED]
    constants.norm = np.zeros((COUNT, COUNT))
    constants.norm[np.ix_(SCORED, SCORED)] = robust.precision(bent)


def residual_score(constants: Constants, residual: NDArray[Any]) -> NDArray[Any]:
    """(n,) scores of residuals (n, 18), as the graph computes them."""
    bent = _bent(constants, residual)
    return np.asarray(np.sqrt(np.maximum(((bent @ constants.norm) * bent).sum(axis=1), 0)))


def _bent(constants: Constants, residual: NDArray[Any]) -> NDArray[Any]:
    knee = constants.knee
    return np.asarray(knee * np.arcsinh(residual / constants.residual_spread / knee) * SCORED)
