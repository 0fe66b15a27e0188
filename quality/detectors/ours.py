"""Our model: the TFLite graph that the trainer makes and the scorers run."""

import numpy as np

from contract.telemetry import Floats
from quality.detectors import Detector, Indices
from trainer.model.directions import hypotheses
from trainer.model.domain import fleet_domain
from trainer.model.learning import learn
from trainer.model.replay import replay


class Ours(Detector):
    """Trained by the trainer's own function and replayed from the state of a new car."""

    def fit(self, training: Floats) -> None:
        """Train and convert."""
        signals, car = _rows(training)
        graph, _ = learn(fleet_domain(), signals, car, self._window, self._seed)
        self._tflite = graph.convert()
        self._hypotheses = hypotheses(graph, self._tflite, signals, car)

    def score(self, signals: Floats) -> Floats:
        """Scores (cars, samples)."""
        return replay(self._tflite, *_rows(signals)).score.reshape(signals.shape[:2])

    def named(self, signals: Floats, cars: Indices, samples: Indices) -> list[str]:
        """The components by the cars' states after these samples, as in a scorer."""
        assert self._hypotheses is not None  # signals.toml names components
        rows = cars * signals.shape[1] + samples
        kept, index = np.unique(rows, return_inverse=True)
        states = replay(self._tflite, *_rows(signals), keep=kept).kept
        return [self._hypotheses.of(state)[0] for state in states[index]]


def _rows(signals: Floats) -> tuple[Floats, Indices]:
    """(rows (n, K) by car and time, the car of each row (n,))."""
    cars, samples, count = signals.shape
    return signals.reshape(-1, count), np.repeat(np.arange(cars), samples)
