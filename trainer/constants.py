"""What the statistics of the training cars give: the numbers that the graph holds as constants."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats
from trainer import robust
from trainer.coordinates import coordinates
from trainer.domain import Domain

# Standardised: beyond these a value says no more than "far off", and numbers stay finite.
COORDINATE_MOST = 100.0
# What expectations are made of ends half as far again from the median as nearly all of the training samples.
_CONDITION_QUANTILES, _CONDITION_BEYOND = (0.001, 0.999), 1.5


@dataclass
class Constants:
    """What the statistics of the training cars give; the graph holds them as constants (float32).

    Of the coordinates: `centre`, `spread`, and standardised, `low` and `high` (width,). Of a coordinate from
    those that help to fill it: `fill` (width, width), `fill_bias` (width,). Of a signal from coordinates:
    `linear` (width, K), `bias` (K,). Of the residual: `residual_spread`, `knee` (K,), `norm` (K, K).
    """

    domain: Domain

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


def linear_constants(domain: Domain, signals: Floats) -> Constants:
    """The whole linear detector from healthy training samples (n, K), all finite."""
    values, targets = np.asarray(coordinates(domain, signals)), domain.targets()
    centre, spread = robust.centre_and_spread(values, domain.resolution)
    placed = np.clip((values - centre) / spread, -COORDINATE_MOST, COORDINATE_MOST)
    low, high = _CONDITION_BEYOND * np.quantile(placed, _CONDITION_QUANTILES, axis=0)
    seen, wanted = np.clip(placed, low, high), np.clip(placed[:, targets], -6, 6)
    fill, fill_bias = robust.leave_out_linear(seen, seen, domain.helpful())
    linear, bias = robust.leave_out_linear(seen, wanted, domain.visible())
    constants = Constants(
        domain=domain,
        centre=centre,
        spread=spread,
        low=low,
        high=high,
        fill=fill,
        fill_bias=fill_bias,
        linear=linear,
        bias=bias,
        residual_spread=np.ones(domain.count),
        knee=np.ones(domain.count),
        norm=np.eye(domain.count),
    )
    set_norm(constants, placed[:, targets] - seen @ linear - bias)
    return constants


def set_norm(constants: Constants, residual: NDArray[Any]) -> None:
    """Fit bend and norm to the residuals (n, K) of healthy training samples."""
    domain = constants.domain
    floor = (domain.resolution / constants.spread)[domain.targets()]
    constants.residual_spread, constants.knee = robust.bend(residual, floor)
    bent = _bent(constants, residual)[:, domain.judged]
    constants.norm = np.zeros((domain.count, domain.count))
    constants.norm[np.ix_(domain.judged, domain.judged)] = robust.precision(bent)


def residual_score(constants: Constants, residual: NDArray[Any]) -> NDArray[Any]:
    """(n,) scores of residuals (n, K), as the graph computes them."""
    bent = _bent(constants, residual)
    return np.asarray(np.sqrt(np.maximum(((bent @ constants.norm) * bent).sum(axis=1), 0)))


def _bent(constants: Constants, residual: NDArray[Any]) -> NDArray[Any]:
    knee = constants.knee
    return np.asarray(
        knee * np.arcsinh(residual / constants.residual_spread / knee) * constants.domain.judged
    )
