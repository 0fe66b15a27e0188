"""scikit-learn's isolation forest (Liu, Ting, Zhou 2008) with its defaults."""

import numpy as np

from contract.telemetry import Floats
from quality.detectors import Lengths
from quality.detectors.stateless import Standard, thinned

# A sample costs 10 µs, hundreds of times as much as with the others: only every n-th sample is scored, and
# its score holds until the next. Faults grow over hours and are not missed by it.
_EVERY = 12


class IsolationForest:
    """Scores a sample by how few random splits isolate it."""

    def __init__(self, seed: int, lengths: Lengths) -> None:
        from sklearn.ensemble import IsolationForest as Forest

        self._forest = Forest(random_state=seed)
        self._standard: Standard

    def fit(self, training: Floats) -> None:
        """100 trees of 256 samples each, drawn from the training samples."""
        self._standard = Standard(training)
        self._forest.fit(self._standard(thinned(training, 100_000)))

    def score(self, signals: Floats) -> Floats:
        """Scores (cars, samples), 0 to 1."""
        cars, count = signals.shape[:2]
        asked = self._standard(signals[:, ::_EVERY])
        answers = -self._forest.score_samples(asked.reshape(-1, asked.shape[-1])).astype(np.float32)
        return np.repeat(answers.reshape(cars, -1), _EVERY, axis=1)[:, :count]
