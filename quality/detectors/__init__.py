"""The detectors of the scorecard. Ours is the trainer's model; the others are there to compare with.

All are trained on the same healthy cars and judged at the same budget of false alarms.
"""

import importlib
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats

Indices = NDArray[np.intp]

# Name in the scorecard → (module, class).
_CLASSES = {
    "chance": ("chance", "Chance"),
    "isolation_forest": ("forest", "IsolationForest"),
    "max_abs_z": ("stateless", "MaxAbsZ"),
    "mahalanobis": ("stateless", "Mahalanobis"),
    "autoencoder_stateless": ("autoencoder", "Autoencoder"),
    "z_baseline": ("memory", "ZBaseline"),
    "linear_conditional": ("memory", "LinearConditional"),
    "ours": ("ours", "Ours"),
}
NAMES = tuple(_CLASSES)
# They judge single samples, and so do their alerts: smoothed scores would give them a memory.
STATELESS = frozenset({"chance", "isolation_forest", "max_abs_z", "mahalanobis", "autoencoder_stateless"})


@dataclass(frozen=True)
class Lengths:
    """Lengths in samples for the detectors with a memory."""

    learning_samples: int  # that give a car's baseline
    memory_samples: int  # over which deviations are averaged


class Detector(Protocol):
    """`fit` once, then `score` any cars. A car's scores do not depend on the other cars of the call."""

    def fit(self, training: Floats) -> None:
        """Learn from healthy cars (cars, samples, K)."""

    def score(self, signals: Floats) -> Floats:
        """Scores (cars, samples), higher is worse, of signals (cars, samples, K) from the first sample on."""


@runtime_checkable
class Explaining(Detector, Protocol):
    """A detector that names a component."""

    def named(self, signals: Floats, cars: Indices, samples: Indices) -> list[str]:
        """The component that each of m alerts names ("" for none), given signals (cars, samples, K).

        Alert i opens at sample samples[i] of car cars[i].
        """


def make(name: str, seed: int, lengths: Lengths) -> Detector:
    """The detector of this name, not yet fitted."""
    module, kind = _CLASSES[name]
    detector: Detector = getattr(importlib.import_module(f"quality.detectors.{module}"), kind)(seed, lengths)
    return detector
