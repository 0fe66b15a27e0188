"""The usual autoencoder as the graph that the scorer is measured with."""

import numpy as np
import pytest

from contract.telemetry import SIGNALS
from plumbing.tflite import Interpreter
from quality.detectors.autoencoder import Autoencoder
from trainer.model.state import Window

pytestmark = [pytest.mark.integration, pytest.mark.measuring]


def test_the_graph_scores_as_the_scorecard_does():
    """Scores alike, and contributions are the squared errors that make them."""
    chance = np.random.default_rng(1)
    cars = chance.normal(size=(20, 100, len(SIGNALS))).astype(np.float32) * 5 + 50
    autoencoder = Autoencoder(1, Window(learning_samples=1, memory_samples=1))
    autoencoder.fit(cars)
    rows = cars[:, 0]
    graph = Interpreter(autoencoder.convert(), len(SIGNALS))
    score, contribution, _ = graph.run(rows, np.empty((len(rows), 0), np.float32))
    assert score == pytest.approx(autoencoder.score(cars)[:, 0], rel=1e-4)
    judged = len(SIGNALS) - 1  # the firmware is not
    assert contribution.sum(axis=1) == pytest.approx(judged * score**2, rel=1e-4)
