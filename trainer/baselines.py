"""The detectors that a model must not be worse than: what anybody writes in ten lines."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from contract.telemetry import Floats
from trainer import robust
from trainer.domain import Domain

# As in the model: further off says no more, and numbers stay finite.
_MOST = 100.0


@dataclass(frozen=True)
class Detector:
    """A name, and scores (n,) of raw signals (n, K): higher is stranger."""

    name: str
    score: Callable[[Floats], Floats]


def max_abs_z(domain: Domain, training: Floats) -> Detector:
    """The signal furthest from its median, in standard deviations."""
    placed = _standardised(domain, training)
    return Detector("max_abs_z", lambda signals: np.abs(placed(signals)).max(axis=1))


def mahalanobis(domain: Domain, training: Floats) -> Detector:
    """The distance from the median in units of the training cars' covariance."""
    placed = _standardised(domain, training)
    inverse = robust.precision(np.clip(placed(training), -10, 10), shrinkage=0.01)

    def score(signals: Floats) -> Floats:
        z = placed(signals)
        return np.asarray(np.sqrt(np.maximum(((z @ inverse) * z).sum(axis=1), 0)), np.float32)

    return Detector("mahalanobis", score)


def _standardised(domain: Domain, training: Floats) -> Callable[[Floats], Floats]:
    """z-scores of the judged signals; a missing one is 0."""
    centre, spread = robust.centre_and_spread(training, domain.resolution[: domain.count])

    def place(signals: Floats) -> Floats:
        with np.errstate(over="ignore"):
            z = np.clip((signals - centre) / spread, -_MOST, _MOST)
        return np.asarray(np.where(np.isnan(z), 0, z)[:, domain.judged], np.float32)

    return place
