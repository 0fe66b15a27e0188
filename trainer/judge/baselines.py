"""The detectors that are compared, each through the same replay, alert rule and budget."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from contract.alert_rule import AlertRule
from contract.telemetry import Floats
from trainer.model import robust
from trainer.model.domain import Domain, columns
from trainer.model.replay import replay
from trainer.model.robust import CarNumbers

_Z_MAX = 100.0  # as in the model: further off says no more, and numbers stay finite


@dataclass(frozen=True)
class Contender:
    """A detector that is judged: candidate, champion or baseline."""

    name: str
    score: Callable[[Floats, CarNumbers], Floats]  # signals (n, K) and car (n,), by car and time, to (n,)
    rule: AlertRule


def tflite_contender(name: str, tflite: bytes, rule: AlertRule) -> Contender:
    """A graph as the scorers run it."""
    return Contender(name, lambda signals, car: replay(tflite, signals, car).score, rule)


def model_contender(
    name: str, tflite: bytes, rule: AlertRule, own: tuple[str, ...], given: tuple[str, ...]
) -> Contender:
    """A model that judges the signals `own`, on rows that have the signals `given`."""

    def score(signals: Floats, car: CarNumbers) -> Floats:
        return replay(tflite, columns(signals, given, own), car).score

    return Contender(name, score, rule)


def max_abs_z(domain: Domain, training: Floats, rule: AlertRule) -> Contender:
    """The largest distance of a signal from its median, in standard deviations."""
    z_scores = _z_scores(domain, training)
    return Contender("max_abs_z", lambda signals, car: np.abs(z_scores(signals)).max(axis=1), rule)


def mahalanobis(domain: Domain, training: Floats, rule: AlertRule) -> Contender:
    """The distance from the median, measured by the training cars' covariance (Mahalanobis 1936)."""
    z_scores = _z_scores(domain, training)
    inverse = robust.precision(np.clip(z_scores(training), -10, 10), shrinkage=0.01)

    def score(signals: Floats, car: CarNumbers) -> Floats:
        z = z_scores(signals)
        return np.asarray(np.sqrt(np.maximum(((z @ inverse) * z).sum(axis=1), 0)), np.float32)

    return Contender("mahalanobis", score, rule)


def _z_scores(domain: Domain, training: Floats) -> Callable[[Floats], Floats]:
    """A function that gives the z-scores of the judged signals; a missing signal is 0."""
    centre, spread = robust.centre_and_spread(training, domain.resolution[: domain.count])

    def z_scores(signals: Floats) -> Floats:
        with np.errstate(over="ignore"):
            z = np.clip((signals - centre) / spread, -_Z_MAX, _Z_MAX)
        return np.asarray(np.where(np.isnan(z), 0, z)[:, domain.judged], np.float32)

    return z_scores
