"""The detectors of the scorecard. Ours is the trainer's model; the others are there to compare with.

All are trained on the same healthy cars and judged at the same budget of false alarms. A supervised one also
learns from failures that were reported of other cars, which nobody judges.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats
from trainer.model.state import Window

Indices = NDArray[np.intp]
Labels = NDArray[np.int8]

# Name in the scorecard → (module, class).
_CLASSES = {
    "chance": ("stateless", "Chance"),
    "isolation_forest": ("stateless", "IsolationForest"),
    "max_abs_z": ("stateless", "MaxAbsZ"),
    "mahalanobis": ("stateless", "Mahalanobis"),
    "autoencoder_stateless": ("autoencoder", "Autoencoder"),
    "z_baseline": ("memory", "ZBaseline"),
    "linear_conditional": ("memory", "LinearConditional"),
    "lstm_supervised": ("lstm", "LSTM"),
    "ours": ("ours", "Ours"),
}
NAMES = tuple(_CLASSES)
# They judge single samples, and so do their alerts: smoothed scores would give them a memory.
STATELESS = frozenset({"chance", "isolation_forest", "max_abs_z", "mahalanobis", "autoencoder_stateless"})


class Detector(ABC):
    """`fit` once, then `score` any cars. A car's scores do not depend on the other cars of the call."""

    def __init__(self, seed: int, window: Window) -> None:
        self._seed, self._window = seed, window

    @abstractmethod
    def fit(self, training: Floats) -> None:
        """Learn from healthy cars (cars, samples, K)."""

    @abstractmethod
    def score(self, signals: Floats) -> Floats:
        """Scores (cars, samples), higher is worse, of signals (cars, samples, K) from the first sample on."""

    def named(self, signals: Floats, cars: Indices, samples: Indices) -> Sequence[str | None]:
        """The component that each of m alerts names ("" for none), given signals (cars, samples, K).

        Alert i opens at sample samples[i] of car cars[i]. None: this detector does not tell components apart.
        """
        return [None] * len(samples)


class Supervised(Detector):
    """A detector that is shown failures of other cars: `see_failures`, then `fit`."""

    _failing: tuple[Floats, Labels] | None = None

    def see_failures(self, signals: Floats, labels: Labels) -> None:
        """Take signals (cars, samples, K) and labels (cars, samples) to learn from.

        A label is 1 where a failure follows soon, -1 from a failure to its repair, else 0.
        """
        self._failing = signals, labels


def make(name: str, seed: int, window: Window) -> Detector:
    """The detector of this name, not yet fitted; `window` is for those with a memory."""
    module, kind = _CLASSES[name]
    detector: Detector = getattr(importlib.import_module(f"quality.detectors.{module}"), kind)(seed, window)
    return detector
