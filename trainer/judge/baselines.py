"""The detectors that a model is compared with, each through the same replay, rule and budget."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from contract.alert_rule import AlertRule
from contract.telemetry import Floats
from trainer.model import robust
from trainer.model.domain import Domain
from trainer.model.replay import replay
from trainer.model.robust import CarNumbers

# As in the model: further off says no more, and numbers stay finite.
_MOST = 100.0


@dataclass(frozen=True)
class Detector:
    """A name, scores (n,) of rows by car and time: signals (n, K), car (n,); and its rule of alerts."""

    name: str
    score: Callable[[Floats, CarNumbers], Floats]
    rule: AlertRule


def of_graph(name: str, tflite: bytes, rule: AlertRule) -> Detector:
    """A graph as the scorers run it."""
    return Detector(name, lambda signals, car: replay(tflite, signals, car).score, rule)


def max_abs_z(domain: Domain, training: Floats, rule: AlertRule) -> Detector:
    """The signal furthest from its median, in standard deviations."""
    placed = _standardised(domain, training)
    return Detector("max_abs_z", lambda signals, car: np.abs(placed(signals)).max(axis=1), rule)


def mahalanobis(domain: Domain, training: Floats, rule: AlertRule) -> Detector:
    """The distance from the median in units of the training cars' covariance."""
    placed = _standardised(domain, training)
    inverse = robust.precision(np.clip(placed(training), -10, 10), shrinkage=0.01)

    def score(signals: Floats, car: CarNumbers) -> Floats:
        z = placed(signals)
        return np.asarray(np.sqrt(np.maximum(((z @ inverse) * z).sum(axis=1), 0)), np.float32)

    return Detector("mahalanobis", score, rule)


def _standardised(domain: Domain, training: Floats) -> Callable[[Floats], Floats]:
    """z-scores of the judged signals; a missing one is 0."""
    centre, spread = robust.centre_and_spread(training, domain.resolution[: domain.count])

    def place(signals: Floats) -> Floats:
        with np.errstate(over="ignore"):
            z = np.clip((signals - centre) / spread, -_MOST, _MOST)
        return np.asarray(np.where(np.isnan(z), 0, z)[:, domain.judged], np.float32)

    return place
