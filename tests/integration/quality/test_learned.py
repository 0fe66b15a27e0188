"""The two detectors that others' libraries make: an isolation forest and the usual autoencoder."""

import numpy as np
import pytest

from contract.telemetry import SIGNALS, Floats
from quality import detectors
from trainer.model.state import Window

pytestmark = [pytest.mark.integration, pytest.mark.measuring]


def _cars(cars: int, seed: int) -> Floats:
    """Signals of which half follow the other half."""
    random = np.random.default_rng(seed)
    free = random.standard_normal((cars, 240, 9))
    weights = np.random.default_rng(0).standard_normal((9, len(SIGNALS) - 9))
    bound = free @ weights
    bound += 0.1 * random.standard_normal(bound.shape)
    return np.concatenate([free, bound], axis=2).astype(np.float32)


@pytest.mark.parametrize("name", ["isolation_forest", "autoencoder_stateless"])
def test_a_strange_sample_scores_higher_and_the_same_twice(name: str):
    """Seeded: the same detector made twice says the same; far off values score above the healthy ones."""
    scores = []
    for _ in range(2):
        detector = detectors.make(name, 1, Window(12, 12))
        detector.fit(_cars(30, 1))
        signals = _cars(4, 2)
        signals[0, 120:] += 6
        scores.append(detector.score(signals))
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-4)
    assert scores[0].shape == (4, 240)
    assert scores[0][0, 120:].mean() > 1.2 * scores[0][1:].mean()
