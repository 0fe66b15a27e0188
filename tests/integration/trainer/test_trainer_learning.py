"""What is learned from healthy cars, from cars with undetected faults, and from too few samples."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from contract.telemetry import SIGNALS, Floats
from plumbing.life import Stop
from plumbing.tflite import Interpreter
from tests.integration.trainer.closed_loop import (
    CARS,
    COOLANT,
    JUDGED,
    SECONDS,
    TYRE,
    WINDOW,
    loop,
    taught,
)
from trainer.model.directions import hypotheses
from trainer.model.graph import Graph
from trainer.model.network import no_network
from trainer.model.replay import replay
from trainer.reading import Stopped

pytestmark = pytest.mark.integration


def test_a_fault_goes_in_its_components_direction(
    graph: Graph, tflite: bytes, past: Floats, served: Interpreter, warm: Floats
) -> None:
    """A leaking tyre, one heated by its brake, and a stuck sensor have different directions in the state."""
    known = hypotheses(
        graph, tflite, past.reshape(-1, past.shape[2]), np.repeat(range(len(past)), past.shape[1])
    )
    assert known is not None
    lasting = 3 * round(WINDOW.memory_samples)  # samples: by then the averages hold 95 % of a deviation
    recent = past[:, -lasting:]
    for name, column, moved in (
        ("tire_1_1", TYRE, recent[..., TYRE] * 0.95),
        ("brake_1_1", TYRE, recent[..., TYRE] * 1.05),
        ("coolant_temp_sensor", COOLANT, np.repeat(recent[:, :1, COOLANT], lasting, axis=1)),
    ):
        after = loop(served, np.where(np.arange(len(SIGNALS)) == column, moved[..., None], recent), warm)[2]
        assert np.mean([known.of(state)[0] == name for state in after]) > 0.9


def test_no_signal_reaches_its_own_expectation(graph: Graph, past: Floats) -> None:
    """Neither regression nor network can copy a fault: a signal's prediction does not depend on it."""
    rows = past[:100, -1]
    state = np.zeros((100, graph.state_width), np.float32)
    for number, signal in enumerate(JUDGED):
        moved = rows.copy()
        moved[:, signal] += 3 * rows[:, signal].std()
        inputs = []
        for each in (moved, rows):
            values, present = graph._standardised(each)
            inputs.append(np.asarray(graph._inputs(values, present, graph._parts(state))[0]).T)
        linear = graph.constants.linear.astype(np.float32)[:, number]
        assert np.abs((inputs[0] - inputs[1]) @ linear).max() == 0, SIGNALS[signal]
        if graph.network is not no_network:
            correction = [np.asarray(graph.network(each))[:, number] for each in inputs]
            assert np.array_equal(correction[0], correction[1]), SIGNALS[signal]


def test_the_network_is_left_out_where_it_gains_nothing(past: Floats) -> None:
    """On independent signals the linear detector ships, and the metrics say so."""
    rng = np.random.default_rng(1)
    rows = past.reshape(-1, len(SIGNALS))
    shuffled = np.stack([rng.permutation(column) for column in rows.T], axis=1).reshape(past.shape)
    graph, learned = taught(shuffled[:150], steps_max=100)
    network = learned.metrics["network"]
    assert (network["shipped"] == "linear") == (graph.network is no_network) == (learned.linear is None)
    assert network["gain"] < 0.01


@pytest.mark.measuring  # long, and others prove most of it: in make test-all
def test_undetected_faulty_cars_hardly_move_what_is_learned(past: Floats, graph: Graph) -> None:
    """With a large fault in 1 % of the training cars the scores of the others change by less than a tenth."""
    spoilt = past.copy()
    spoilt[:3, 35:, TYRE] *= 0.6
    other, learned = taught(spoilt, steps_max=200)
    assert learned.metrics["suspect_cars"] >= 2
    rows, car = past.reshape(-1, len(SIGNALS)), np.repeat(np.arange(CARS), SECONDS)
    highs = [np.quantile(replay(each.convert(), rows, car).score, 0.999) for each in (graph, other)]
    assert abs(highs[1] / highs[0] - 1) < 0.1


def test_a_stop_ends_the_training(past: Floats) -> None:
    """SIGTERM in the middle of the training: it ends within a step, with nothing learned."""
    stop: Any = Stop()
    stop.request()
    with pytest.raises(Stopped):
        taught(past[:60], stop=stop)


def test_too_short_a_past_is_said(past: Floats) -> None:
    """Cars with too few samples cannot be learned from; the message says what to do."""
    with pytest.raises(ValueError, match="learn for a shorter time"):
        taught(past[:60, :30])
    with pytest.raises(ValueError, match="at least 1 and at most"):
        dataclasses.replace(WINDOW, memory_samples=31.0)
