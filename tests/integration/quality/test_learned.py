"""The detectors that others make with libraries: isolation forest, usual autoencoder, supervised LSTM."""

import numpy as np
import pytest

from contract.telemetry import SIGNALS, Floats
from quality import detectors
from quality.detectors import Detector, Labels, Supervised
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


def _fail(signals: Floats, cars: int) -> Labels:
    """Let the first cars fail at sample 180; their signals leave from sample 120 on. Returns the labels."""
    signals[:cars, 120:] += np.linspace(0, 4, 120, dtype=np.float32)[:, None]
    labels = np.zeros(signals.shape[:2], np.int8)
    labels[:cars, 120:180] = 1
    labels[:cars, 180:] = -1
    return labels


@pytest.fixture(scope="module")
def lstms() -> list[Detector]:
    """Two that learned the same."""
    made = []
    for _ in range(2):
        lstm = detectors.make("lstm_supervised", 1, Window(24, 24))
        assert isinstance(lstm, Supervised)
        labelled = _cars(30, 3)
        lstm.see_failures(labelled, _fail(labelled, 20))
        lstm.fit(_cars(30, 1))
        made.append(lstm)
    return made


def test_what_came_before_a_known_failure_is_recognised_in_other_cars(lstms: list[Detector]):
    """Seeded, too: who learns the same scores the same."""
    signals = _cars(6, 2)
    _fail(signals, 3)
    score = lstms[0].score(signals)
    np.testing.assert_allclose(score, lstms[1].score(signals), rtol=1e-4, atol=1e-6)
    assert score[:3, 150:180].min() > 2 * score[3:, 60:].max()
    assert (score[:, :24] == 0).all()


def test_a_window_knows_neither_the_future_nor_other_cars(lstms: list[Detector]):
    """Samples that come later, and cars that are scored beside, change nothing; signals stay as they are."""
    signals = _cars(6, 2)
    before, score = signals.copy(), lstms[0].score(signals)
    np.testing.assert_array_equal(signals, before)
    np.testing.assert_allclose(lstms[0].score(signals[:, :101]), score[:, :101], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(lstms[0].score(signals[2:3]), score[2:3], rtol=1e-4, atol=1e-5)
