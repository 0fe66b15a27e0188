"""Our model: what the trainer learns, as the very TFLite graph that the scorers run."""

import numpy as np

from contract.telemetry import Floats
from quality.detectors import Lengths
from trainer.domain import fleet_domain
from trainer.learning import learn
from trainer.memory import Memory
from trainer.replay import Replay, replay


class Ours:
    """Learned by the trainer's own function, replayed car by car from a new car's state."""

    def __init__(self, seed: int, lengths: Lengths) -> None:
        self._seed = seed
        self._memory = Memory(lengths.learning_samples, lengths.memory_samples)
        self._tflite: bytes

    def fit(self, training: Floats) -> None:
        """Train and convert."""
        signals, car = _rows(training)
        graph, _ = learn(fleet_domain(), signals, car, self._memory, self._seed)
        self._tflite = graph.convert()

    def score(self, signals: Floats) -> Floats:
        """(cars, samples)."""
        return self._replay(signals).score.reshape(signals.shape[:2])

    def contributions(self, signals: Floats) -> Floats:
        """(cars, samples, 18)."""
        contribution = self._replay(signals, contributions=True).contribution
        assert contribution is not None
        return contribution.reshape(signals.shape)

    def _replay(self, signals: Floats, *, contributions: bool = False) -> Replay:
        return replay(self._tflite, *_rows(signals), contributions=contributions)


def _rows(signals: Floats) -> tuple[Floats, np.ndarray[tuple[int], np.dtype[np.intp]]]:
    """(n, 18) rows by car and time, and (n,) whose they are."""
    cars, samples, count = signals.shape
    return signals.reshape(-1, count), np.repeat(np.arange(cars), samples)
