"""The detectors of the scorecard, each a module with one class; ours is what the trainer makes.

All are given the same healthy cars to learn from and the same alert rule and thresholds' budget.
"""

import importlib
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from contract.telemetry import Floats

# Name in the scorecard -> module here and its class.
_PLACES = {
    "chance": ("chance", "Chance"),
    "isolation_forest": ("forest", "IsolationForest"),
    "max_abs_z": ("stateless", "MaxAbsZ"),
    "mahalanobis": ("stateless", "Mahalanobis"),
    "autoencoder_stateless": ("autoencoder", "Autoencoder"),
    "z_baseline": ("memory", "ZBaseline"),
    "linear_conditional": ("memory", "LinearConditional"),
    "ours": ("ours", "Ours"),
}
NAMES = tuple(_PLACES)
# They look at single samples, and so do their alerts: smoothed scores would lend them a memory.
STATELESS = frozenset({"chance", "isolation_forest", "max_abs_z", "mahalanobis", "autoencoder_stateless"})


@dataclass(frozen=True)
class Lengths:
    """How long the detectors with a memory learn a car, and remember it, in samples."""

    learning_samples: int
    memory_samples: int


class Detector(Protocol):
    """`fit` once, then `score` any cars; no car's scores depend on what other cars are scored with it."""

    def fit(self, training: Floats) -> None:
        """Learn from healthy cars, (cars, samples, 18)."""

    def score(self, signals: Floats) -> Floats:
        """(cars, samples) of (cars, samples, 18), each car from its first sample on; higher is stranger."""


@runtime_checkable
class Explaining(Detector, Protocol):
    """A detector that says which signals make its scores."""

    def contributions(self, signals: Floats) -> Floats:
        """(cars, samples, 18) with signs: what each signal adds to the score squared."""


def make(name: str, seed: int, lengths: Lengths) -> Detector:
    """The detector of this name, not yet fitted."""
    module, kind = _PLACES[name]
    made: Detector = getattr(importlib.import_module(f"quality.detectors.{module}"), kind)(seed, lengths)
    return made
