"""The graph itself, as TensorFlow computes it, as the scorers run it, and as plain numpy says it must be."""

import numpy as np
import pytest

from contract.state_layout import SEEN
from contract.telemetry import SIGNALS, Floats
from plumbing.tflite import Interpreter
from tests.integration.trainer.closed_loop import (
    CARS,
    COOLANT,
    DOMAIN,
    JUDGED,
    SPEED,
    TYRE,
    VIBRATION,
    WINDOW,
    loop,
    numpy_step,
    with_gaps,
)
from trainer.model.graph import Graph
from trainer.model.state import state_layout

pytestmark = pytest.mark.integration


def test_a_closed_loop_is_what_numpy_says(graph: Graph, served: Interpreter, past: Floats) -> None:
    """Hundreds of steps with gaps, past the learning period, each from the state before: no drift."""
    cars = with_gaps(np.tile(past[:40], (1, 4, 1)))
    state = np.zeros((40, served.state_width), np.float32)
    expected_state = state.astype(np.float64)
    for sample in cars.transpose(1, 0, 2):
        score, contribution, state = served.run(sample, state)
        expected, expected_state = numpy_step(graph, sample, expected_state)
        assert np.abs(score - expected).max() < 2e-3
        largest = np.maximum(1, np.abs(contribution).max(axis=1))
        assert (np.abs(contribution.sum(axis=1) - score**2) < 1e-4 * largest).all()
    assert np.abs(state - expected_state).max() < 1e-2
    assert (state[:, SEEN] == WINDOW.learning_samples).all()
    assert score.max() > 0.1


def test_tflite_gives_what_keras_gives(graph: Graph, served: Interpreter, past: Floats) -> None:
    """In a closed loop, in batches of any size; other cars of a batch do not matter."""
    import tensorflow as tf

    kept = tf.zeros((CARS, served.state_width))
    state = np.zeros((CARS, served.state_width), np.float32)
    for sample in with_gaps(past).transpose(1, 0, 2)[:45]:
        alone = served.run(sample[7:8], state[7:8])
        score, _, state = served.run(sample, state)
        assert np.abs(alone[0] - score[7:8]).max() < 1e-5
        expected, _, kept = graph.run(tf.constant(sample), kept)
        assert np.abs(score - expected).max() < 1e-4
    assert np.abs(state - kept).max() < 1e-2


def test_a_cars_own_level_is_no_anomaly_and_a_change_of_it_is(
    served: Interpreter, past: Floats, warm: Floats
) -> None:
    """A growing fault raises the score, most of it by the faulty signal; the baseline stays."""
    limit = np.quantile(loop(served, past)[0][:, WINDOW.learning_samples :].max(axis=1), 0.95)
    for signal, factor in ((TYRE, 0.7), (VIBRATION, 2.5)):
        faulty = np.tile(past[:, 30:], (1, 2, 1))
        faulty[:, :, signal] *= np.linspace(1, factor, faulty.shape[1], dtype=np.float32)[None]
        score, contribution, after = loop(served, faulty, warm)
        moving = faulty[:, -20:, SPEED].min(axis=1) > 3
        assert (score[moving, -1] > limit).mean() > 0.8
        assert (contribution[moving, -1].argmax(axis=1) == signal).mean() > 0.6
        columns = slice(*state_layout(DOMAIN, WINDOW, 1.0).baseline)
        unseen = warm[:, columns] == 0
        assert ((after == warm)[:, columns] | unseen).all(), "a frozen baseline learned the fault"


def test_states_stay_finite(served: Interpreter, past: Floats) -> None:
    """NaN and infinities in one signal after another, then all: states and scores stay finite."""
    hostile = past[:60, :60].copy()
    hostile[:20, ::3] = np.nan
    hostile[20:40, 1::4] = np.inf
    hostile[40:, 1::5] = -3e38
    score, contribution, state = loop(served, hostile)
    assert np.isfinite(score).all()
    assert np.isfinite(contribution).all()
    assert np.isfinite(state).all()


def test_a_missing_signal_is_not_judged_and_not_remembered(
    served: Interpreter, past: Floats, warm: Floats
) -> None:
    """A NaN signal contributes 0, its baseline and deviation stay, and healthy cars stay healthy."""
    columns = state_layout(DOMAIN, WINDOW, 1.0)
    limit = np.quantile(served.run(past[:, -1], warm)[0], 0.999)
    for number, signal in enumerate(JUDGED):
        sample = past[:, -1].copy()
        sample[:, signal] = np.nan
        score, contribution, after = served.run(sample, warm)
        assert (contribution[:, signal] == 0).all()
        for block in (columns.baseline, columns.deviation):
            assert (after[:, block[0] + number] == warm[:, block[0] + number]).all()
        assert (score > limit).mean() < 0.05, SIGNALS[signal]
    nothing_there = np.full((3, len(SIGNALS)), np.nan, np.float32)
    assert served.run(nothing_there, warm[:3])[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("value", [np.inf, -np.inf, 3.4e38, -3.4e38, 1e12])
def test_values_beyond_sense_are_anomalies(
    served: Interpreter, past: Floats, warm: Floats, value: float
) -> None:
    """They score at once, also for a new car: finite, and far above healthy samples."""
    limit = loop(served, past)[0].max()
    for signal in JUDGED:
        wild = past[:50, -1].copy()
        wild[:, SPEED] = 10  # ratios are judged while the car moves
        wild[:, signal] = value
        for state in (warm[:50], np.zeros_like(warm[:50])):
            score = served.run(wild, state)[0]
            assert np.isfinite(score).all()
            assert (score > limit).all(), SIGNALS[signal]


def test_a_new_car_scores_nothing_until_it_is_known(served: Interpreter, past: Floats) -> None:
    """A car is watched for its learning period; from then on it has scores."""
    score = loop(served, past)[0]
    assert (score[:, : WINDOW.learning_samples] == 0).all()
    assert (score[:, -1] > 0).all()


def test_a_deviation_counts_less_where_no_training_car_has_been(
    graph: Graph, served: Interpreter, past: Floats, warm: Floats
) -> None:
    """Predictions extrapolate there: ten spreads away a deviation counts a fifth at most."""
    deviating = warm.copy()
    deviating[:, slice(*graph.columns.deviation)] += 100
    away = deviating.copy()
    away[:, slice(*graph.columns.point)] += 10
    known, unknown = (served.run(past[:, -1], state)[0] for state in (deviating, away))
    assert (unknown < 0.2 * known).mean() > 0.9


def test_a_stuck_sensor_is_seen_by_its_silence(served: Interpreter, past: Floats, warm: Floats) -> None:
    """A coolant sensor that repeats a usual value has the largest contribution."""
    limit = np.quantile(loop(served, past)[0][:, WINDOW.learning_samples :].max(axis=1), 0.99)
    stuck = past[:, -20:].copy()
    stuck[:, :, COOLANT] = past[:, -21, COOLANT][:, None]
    score, contribution, _ = loop(served, stuck, warm)
    assert (score[:, -1] > limit).mean() > 0.95
    assert (contribution[:, -1].argmax(axis=1) == COOLANT).mean() > 0.9


def test_a_new_model_keeps_what_the_old_one_knew_of_a_drift(
    graph: Graph, tflite: bytes, past: Floats
) -> None:
    """A car that drifted while the new model learned it scores as before, on its old baseline."""
    layout, served = state_layout(DOMAIN, WINDOW, 1.0), Interpreter(tflite, len(SIGNALS))
    drifted = np.tile(past[:, -30:], (1, 3, 1))
    drifted[:, :, TYRE] -= 1.5
    old = loop(served, past)[2]
    old = loop(served, drifted, old)[2]
    new = np.zeros_like(old)  # the same graph again stands for a new model: it sees only the drifted car
    for sample in range(layout.handover_samples):
        after, new = (served.run(drifted[:, sample], state)[2] for state in (old, new))
        layout.watch(new, layout, old, after)
        old = after
    difference = layout.compared(new, layout, old)[1]
    handed_over = layout.inherited(new, layout, old, difference=difference, normal=np.zeros_like(difference))
    tyre = layout.baseline[0] + JUDGED.tolist().index(TYRE)
    before, learned, now = (state[:, tyre] for state in (old, new, handed_over))
    assert np.median(np.abs(now - before)) < 0.4 * np.median(np.abs(learned - before))
    assert (handed_over[:, slice(*layout.deviation)] == old[:, slice(*layout.deviation)]).all()
    kept, still = (served.run(drifted[:, -1], state)[0] for state in (handed_over, old))
    assert np.median(np.abs(kept / still - 1)) < 0.3


def test_a_car_with_another_firmware_is_learned_anew(served: Interpreter, past: Floats, warm: Floats) -> None:
    """New firmware is no fault: the car starts anew; a missing version changes nothing."""
    newer = past[:, -1].copy()
    firmware = SIGNALS.index("control_unit_firmware")
    newer[:, firmware] += 3000
    score, _, state = served.run(newer, warm)
    assert (score == 0).all()
    assert (state[:, SEEN] == 1).all()
    layout = state_layout(DOMAIN, WINDOW, 1.0)
    assert (state[:, slice(*layout.deviation)] == 0).all()
    assert (served.run(newer, state)[2][:, SEEN] == 2).all()
    newer[:, firmware] = np.nan
    assert (served.run(newer, state)[2][:, SEEN] == 2).all()


def test_a_kind_of_car_that_no_training_car_is_raises_nothing(
    graph: Graph, served: Interpreter, past: Floats, warm: Floats
) -> None:
    """A car that varied a lot while it was learned scores 0; one broken sensor does not do that."""
    variance = graph.columns.variance[0]
    strange, sample = warm.copy(), past[:, -1].copy()
    strange[:, variance] = 7.1 * graph.constants.usual_variance
    layout = state_layout(DOMAIN, WINDOW, 1.0, graph.constants.strange_variance)
    assert layout.strange(strange).all()
    assert not layout.strange(warm).any()
    sample[:, TYRE] *= 0.5
    assert (served.run(sample, warm)[0] > 1).all()
    assert (served.run(sample, strange)[0] == 0).all()
    broken = past[:50].copy()
    broken[:, ::2, COOLANT] = 1e6
    assert (loop(served, broken)[2][:, variance] < 6 * graph.constants.usual_variance).all()
