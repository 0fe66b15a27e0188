"""What detectors may and may not know."""

import numpy as np
import pytest

from contract.telemetry import SIGNALS, Floats
from quality import detectors
from trainer.model.state import Window

WINDOW = Window(learning_samples=30, memory_samples=10)
# Those that need neither TensorFlow nor scikit-learn.
QUICK = ("chance", "max_abs_z", "mahalanobis", "z_baseline", "linear_conditional")
REMEMBER = ("z_baseline", "linear_conditional")
PLACE = SIGNALS.index("coolant_temp")


def _cars(cars: int, seed: int, samples: int = 150) -> Floats:
    """Samples of cars that each have an offset of their own."""
    random = np.random.default_rng(seed)
    own = 5 * random.standard_normal((cars, 1, len(SIGNALS)))
    return (own + random.standard_normal((cars, samples, len(SIGNALS)))).astype(np.float32)


@pytest.mark.parametrize("name", QUICK)
def test_a_score_a_sample_finite_and_sound_data_untouched(name: str):
    """(cars, samples) out of (cars, samples, K); what was given is given unchanged to the next detector."""
    detector, training, signals = detectors.make(name, 1, WINDOW), _cars(12, 1), _cars(6, 2)
    before = signals.copy(), training.copy()
    detector.fit(training)
    score = detector.score(signals)
    assert score.shape == (6, 150)
    assert np.isfinite(score).all()
    np.testing.assert_array_equal(signals, before[0])
    np.testing.assert_array_equal(training, before[1])


@pytest.mark.parametrize("name", QUICK[1:])
def test_a_score_knows_neither_the_future_nor_other_cars(name: str):
    """Samples that come later, and cars that are scored beside, change nothing."""
    detector, signals = detectors.make(name, 1, WINDOW), _cars(6, 2)
    detector.fit(_cars(12, 1))
    score = detector.score(signals)
    np.testing.assert_allclose(detector.score(signals[:, :100]), score[:, :100], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(detector.score(signals[2:3]), score[2:3], rtol=1e-5, atol=1e-5)


def test_a_supervised_detector_needs_failures():
    """Without any it would learn that nothing ever fails."""
    with pytest.raises(ValueError, match="failures"):
        detectors.make("lstm_supervised", 1, WINDOW).fit(_cars(12, 1))


@pytest.mark.parametrize("name", REMEMBER)
def test_what_makes_a_car_this_car_is_no_deviation(name: str):
    """An offset that a car has from the beginning changes no score; one that comes later does, and grows."""
    detector, signals = detectors.make(name, 1, WINDOW), _cars(6, 2)
    detector.fit(_cars(12, 1))
    score = detector.score(signals)
    other = signals.copy()
    other[:, :, PLACE] += 3
    np.testing.assert_allclose(detector.score(other), score, rtol=1e-2, atol=1e-2)
    changed = signals.copy()
    changed[:, 80:, PLACE] += 8
    assert (detector.score(changed)[:, 120] > score[:, 120] + 5).all()
    assert (score[:, : WINDOW.learning_samples] == 0).all()


def test_the_cars_that_were_learned_from_need_not_be_alike():
    """z-scores of a fleet of different cars miss what the car's own baseline shows."""
    signals = _cars(6, 2)
    signals[3, 80:, PLACE] += 8
    ranks = {}
    for name in ("mahalanobis", "z_baseline"):
        detector = detectors.make(name, 1, WINDOW)
        detector.fit(_cars(12, 1))
        score = detector.score(signals)[:, 120:].mean(axis=1)
        ranks[name] = score[3] / np.delete(score, 3).max()
    assert ranks["z_baseline"] > 1.5 * ranks["mahalanobis"]
