"""Alarms at random: what the budget of false alarms buys without looking at anything."""

import numpy as np

from contract.telemetry import Floats
from quality.detectors import Lengths


class Chance:
    """Every sample's score is drawn."""

    def __init__(self, seed: int, lengths: Lengths) -> None:
        self._random = np.random.default_rng(seed)

    def fit(self, training: Floats) -> None:
        """There is nothing to learn."""

    def score(self, signals: Floats) -> Floats:
        """(cars, samples), uniform in [0, 1)."""
        return self._random.random(signals.shape[:2], np.float32)
