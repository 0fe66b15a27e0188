"""The graph itself, as TensorFlow computes it and as the scorers run it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.manifest import TFLITE_BYTES_MAX
from contract.telemetry import SIGNALS, Floats
from plumbing.life import Stop
from trainer import train
from trainer.domain import fleet_domain
from trainer.interpreter import Interpreter
from trainer.model import Graph
from trainer.reading import Stopped
from trainer.settings import Settings

pytestmark = pytest.mark.integration

CARS, SECONDS = 400, 20
Fleet = Callable[..., NDArray[np.float32]]
SPEED, VIBRATION, TYRE = (
    SIGNALS.index(name) for name in ("speed", "engine_vibration_amplitude", "tire_pressure_1_1")
)


@pytest.fixture(scope="module")
def samples(fleet: Fleet) -> Floats:
    """Healthy samples (n, 18) by car and time."""
    return np.ascontiguousarray(fleet(CARS, SECONDS, seed=1).transpose(1, 0, 2).reshape(-1, len(SIGNALS)))


@pytest.fixture(scope="module")
def graph(samples: Floats) -> Graph:
    told = Settings(kafka_bootstrap="localhost:9092", steps_max=200)
    train.load_tensorflow()
    car = np.repeat(np.arange(CARS), SECONDS)
    learned, _ = train.learn(fleet_domain(), samples, car, told, Stop())
    return learned


@pytest.fixture(scope="module")
def served(graph: Graph) -> Interpreter:
    tflite = graph.convert()
    assert len(tflite) < TFLITE_BYTES_MAX / 5
    return Interpreter(tflite)


def test_tflite_gives_what_keras_gives(graph: Graph, served: Interpreter, samples: Floats) -> None:
    """To 1e-4 of the score, with its weights in the file, in batches of any size."""
    kept, contribution = (np.asarray(output) for output in graph.run(samples))
    score, parts = served.run(samples)
    assert np.abs(score - kept).max() < 1e-4
    assert np.abs(parts - contribution).max() < 1e-3
    assert np.abs(served.run(samples[:1])[0] - score[:1]).max() < 1e-6
    assert 0.5 < np.median(score) < 1.5


def test_contributions_add_up_to_the_square_of_the_score(served: Interpreter, samples: Floats) -> None:
    """So a signal's share of the score squared can be named; the firmware has none."""
    score, contribution = served.run(samples)
    assert np.allclose(contribution.sum(axis=1), score**2, rtol=1e-3, atol=1e-4)
    assert (contribution[:, ~fleet_domain().judged] == 0).all()


def test_a_fault_raises_the_score_and_has_the_largest_share(served: Interpreter, samples: Floats) -> None:
    """A tyre at two thirds of its pressure and a vibration three times as strong are seen where they are."""
    moving = samples[samples[:, SPEED] > 5]
    before = served.scores(moving)
    for place, factor in ((TYRE, 0.67), (VIBRATION, 3.0)):
        faulty = moving.copy()
        faulty[:, place] *= factor
        score, contribution = served.run(faulty)
        assert (score > np.quantile(before, 0.99)).mean() > 0.7
        shares = contribution / (score**2)[:, None]
        assert shares.mean(axis=0).argmax() == place
        assert (contribution.argmax(axis=1) == place).mean() > 0.6


def test_a_missing_signal_has_no_part_in_the_score(served: Interpreter, samples: Floats) -> None:
    """NaN in one signal: its contribution is 0, and healthy samples stay healthy."""
    limit = np.quantile(served.scores(samples), 0.999)
    for place in range(len(SIGNALS)):
        missing = samples.copy()
        missing[:, place] = np.nan
        score, contribution = served.run(missing)
        assert np.isfinite(score).all()
        assert (contribution[:, place] == 0).all()
        assert (score > limit).mean() < 0.01, SIGNALS[place]


@pytest.mark.parametrize("value", [np.inf, -np.inf, 3.4e38, -3.4e38, 1e12])
def test_values_beyond_sense_are_anomalies(served: Interpreter, samples: Floats, value: float) -> None:
    """The score is a finite number, and far over those of healthy samples."""
    limit = served.scores(samples).max()
    for place in np.flatnonzero(fleet_domain().judged):
        wild = samples[:50].copy()
        wild[:, place] = value
        score = served.scores(wild)
        assert np.isfinite(score).all()
        assert (score > limit).all(), SIGNALS[place]


def test_all_signals_missing_is_no_evidence(served: Interpreter) -> None:
    """A record without any value scores 0."""
    score, _ = served.run(np.full((3, len(SIGNALS)), np.nan, np.float32))
    assert score.tolist() == [0, 0, 0]


def test_no_signal_reaches_its_own_expectation(graph: Graph, samples: Floats) -> None:
    """Neither the linear part nor the network can copy a fault: the expectation of a signal ignores it."""
    for place in np.flatnonzero(fleet_domain().judged):
        moved = samples[:200].copy()
        moved[:, place] += 3 * samples[:, place].std()
        seen, still = (np.asarray(graph.inputs(rows)[0]) for rows in (moved, samples[:200]))
        linear = graph.constants.linear.astype(np.float32)[:, place]
        assert np.abs((seen - still) @ linear).max() == 0, SIGNALS[place]
        added = [np.asarray(graph.added(rows))[:, place] for rows in (seen, still)]
        assert np.array_equal(added[0], added[1]), SIGNALS[place]


def test_another_firmware_is_no_anomaly(served: Interpreter, samples: Floats) -> None:
    """A version that no training car had leaves the alarms where they were."""
    limit = np.quantile(served.scores(samples), 0.999)
    newer = samples.copy()
    newer[:, -1] = 5000
    assert (served.scores(newer) > limit).mean() < 0.01


def test_the_network_is_left_out_where_it_gains_nothing(samples: Floats) -> None:
    """On signals that have nothing to do with each other, the linear detector ships: the network adds 0."""
    rng = np.random.default_rng(1)
    shuffled = np.stack([rng.permutation(column) for column in samples.T], axis=1)
    told = Settings(kafka_bootstrap="localhost:9092", steps_max=100)
    learned, told_of = train.learn(
        fleet_domain(), shuffled, np.repeat(np.arange(CARS), SECONDS), told, Stop()
    )
    assert told_of["loss"] <= told_of["linear_loss"]
    if told_of["loss"] == told_of["linear_loss"]:
        assert not np.asarray(learned.added(learned.inputs(shuffled[:100])[0])).any()


def test_training_is_repeatable(samples: Floats, graph: Graph) -> None:
    """The same samples and seed give the same bytes on this machine."""
    told = Settings(kafka_bootstrap="localhost:9092", steps_max=200)
    again, _ = train.learn(fleet_domain(), samples, np.repeat(np.arange(CARS), SECONDS), told, Stop())
    for item in dataclasses.fields(again.constants):
        one, other = (getattr(constants, item.name) for constants in (again.constants, graph.constants))
        assert one is other or np.array_equal(one, other), item.name
    for one, other in zip(again.added.get_weights(), graph.added.get_weights(), strict=True):
        assert np.array_equal(one, other)


def test_a_stop_ends_the_training(samples: Floats) -> None:
    """SIGTERM in the middle of the network's training: it ends within a step, with nothing learned."""
    stop: Any = Stop()
    stop.request()
    told = Settings(kafka_bootstrap="localhost:9092")
    with pytest.raises(Stopped):
        train.learn(fleet_domain(), samples, np.repeat(np.arange(CARS), SECONDS), told, stop)
