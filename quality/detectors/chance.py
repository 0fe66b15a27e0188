"""Random scores: the recall that a budget of false alarms gives without looking at the signals."""

import numpy as np

from contract.telemetry import Floats
from quality.detectors import Lengths


class Chance:
    """Draws every sample's score."""

    def __init__(self, seed: int, lengths: Lengths) -> None:
        self._random = np.random.default_rng(seed)

    def fit(self, training: Floats) -> None:
        """There is nothing to learn."""

    def score(self, signals: Floats) -> Floats:
        """Scores (cars, samples), uniform in [0, 1)."""
        return self._random.random(signals.shape[:2], np.float32)
