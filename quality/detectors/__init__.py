"""The detectors of the scorecard, each a module with one class; ours is what the trainer makes.

All are given the same healthy cars to learn from and the same alert rule and thresholds' budget.
"""

import importlib
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats

Places = NDArray[np.intp]

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
    """A detector that names a component."""

    def named(self, signals: Floats, cars: Places, samples: Places) -> list[str]:
        """The component that each of m alerts names, of (cars, samples, 18); "" for none.

        Alert i opens with the sample number samples[i] of the car cars[i].
        """


def make(name: str, seed: int, lengths: Lengths) -> Detector:
    """The detector of this name, not yet fitted."""
    module, kind = _PLACES[name]
    made: Detector = getattr(importlib.import_module(f"quality.detectors.{module}"), kind)(seed, lengths)
    return made
