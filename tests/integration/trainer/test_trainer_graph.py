"""The graph itself, as TensorFlow computes it, as the scorers run it, and as plain numpy says it must be."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.manifest import TFLITE_BYTES_MAX
from contract.state_layout import SEEN
from contract.telemetry import SIGNALS, Floats
from plumbing.life import Stop
from trainer.model.directions import hypotheses
from trainer.model.domain import fleet_domain
from trainer.model.graph import Graph
from trainer.model.interpreter import Interpreter
from trainer.model.learning import Learned, learn
from trainer.model.network import no_network
from trainer.model.replay import replay
from trainer.model.state import CarState, Window, state_layout
from trainer.reading import Stopped

pytestmark = pytest.mark.integration

CARS, SECONDS = 300, 90
WINDOW = Window(learning_samples=30, memory_samples=10.0)
DOMAIN = fleet_domain()
JUDGED = np.flatnonzero(DOMAIN.judged)
Fleet = Callable[..., NDArray[np.float32]]
SPEED, VIBRATION, TYRE, COOLANT, FIRMWARE = (
    SIGNALS.index(name)
    for name in (
        "speed",
        "engine_vibration_amplitude",
        "tire_pressure_1_1",
        "coolant_temp",
        "control_unit_firmware",
    )
)


@pytest.fixture(scope="module")
def past(fleet: Fleet) -> Floats:
    """Healthy samples (cars, seconds, K)."""
    return np.ascontiguousarray(fleet(CARS, SECONDS, seed=1).transpose(1, 0, 2))


def taught(past: Floats, **options: Any) -> tuple[Graph, Learned]:
    cars, seconds, count = past.shape
    return learn(DOMAIN, past.reshape(-1, count), np.repeat(np.arange(cars), seconds), WINDOW, 1, **options)


@pytest.fixture(scope="module")
def graph(past: Floats) -> Graph:
    return taught(past, steps_max=200)[0]


@pytest.fixture(scope="module")
def tflite(graph: Graph) -> bytes:
    found = graph.convert()
    assert len(found) < TFLITE_BYTES_MAX / 5
    return found


@pytest.fixture(scope="module")
def served(tflite: bytes) -> Interpreter:
    return Interpreter(tflite, len(SIGNALS))


@pytest.fixture(scope="module")
def warm(served: Interpreter, past: Floats) -> Floats:
    """The states of all cars after their past."""
    return loop(served, past)[2]


def loop(served: Interpreter, past: Floats, state: Floats | None = None) -> tuple[Floats, Floats, Floats]:
    """Scores (cars, T), contributions (cars, T, K) and the states after the last sample."""
    state = np.zeros((len(past), served.state_width), np.float32) if state is None else state
    scores, parts = [], []
    for sample in past.transpose(1, 0, 2):
        score, contribution, state = served.run(sample, state)
        scores.append(score)
        parts.append(contribution)
    return np.stack(scores, 1), np.stack(parts, 1), state


def with_gaps(past: Floats, seed: int = 1) -> Floats:
    holes = np.random.default_rng(seed).random(past.shape) < 0.03
    return np.where(holes, np.nan, past).astype(np.float32)


def numpy_step(graph: Graph, signals: Floats, state: NDArray[np.float64]) -> tuple[Any, NDArray[np.float64]]:
    """(scores, states after), written from the description, in double precision; no ratio misses a part."""
    c, columns = graph.constants, graph.columns
    before = CarState(*[state[:, slice(*part)] for part in columns])
    values, present = (np.asarray(part, np.float64).T for part in graph._standardised(signals))
    gap = present == 0
    firmware = np.where(gap[:, [FIRMWARE]], before.identity, values[:, [FIRMWARE]])
    changed = (firmware != before.identity) & (before.count > 0)
    reset = ("count", "baseline", "deviation", "variance")
    before = before._replace(**{name: np.where(changed, 0, getattr(before, name)) for name in reset})
    width, targets = DOMAIN.width, DOMAIN.targets()[DOMAIN.judged]
    now = np.clip(values, c.low[:width], c.high[:width])
    now = np.where(gap, now @ c.fill + c.fill_bias, now)
    rate = np.maximum(1 / (before.count + 1), 1 / WINDOW.memory_samples)
    point = before.point + rate * (now[:, DOMAIN.conditions] - before.point)
    inputs = np.concatenate([now, np.clip(point, c.low[width:], c.high[width:])], axis=1)
    correction = np.asarray(graph.network(inputs.astype(np.float32)), np.float64)
    residual = (values[:, targets] - inputs @ c.linear - c.bias - correction) * c.unit
    mask = ~gap[:, targets]
    for column, signal in enumerate(JUDGED):
        ratio = next((r for r in DOMAIN.ratios if r.judges == SIGNALS[signal]), None)
        if ratio and ratio.judged_above:
            under = SIGNALS.index(ratio.denominator)
            mask[:, column] &= values[:, under] * c.spread[under] + c.centre[under] > ratio.judged_above
    residual = residual * mask
    warm = before.count >= WINDOW.learning_samples
    clipped = np.clip(residual, -c.limit, c.limit)
    learning = np.where(before.baseline == 0, 1.0, np.where(warm, 0.0, 1 / (before.count + 1)))
    baseline = before.baseline + mask * learning * (clipped - before.baseline)
    step = np.clip(clipped - baseline, -c.pull, c.pull) - before.deviation
    deviation = before.deviation + mask * warm * step / WINDOW.memory_samples
    spreads = np.minimum(np.abs(residual - baseline) / c.spread_within, 8) * mask
    square = (spreads**2).mean(axis=1, keepdims=True)
    variance = before.variance + np.where(warm, 0, 1 / (before.count + 1)) * (square - before.variance)
    value, there = (part[:, : len(SIGNALS)][:, DOMAIN.restless] for part in (values, present))
    same = np.maximum(1 - np.abs(value - before.last) * 1e6, 0)
    repeat_rate = before.repeat_rate + there * rate * (same - before.repeat_rate)
    ratio_of_variance = before.variance / c.usual_variance
    familiar = np.clip(7 - ratio_of_variance, 0, 1)
    confidence = WINDOW.learning_samples / (WINDOW.learning_samples + 60)
    weight = familiar / (1 + np.maximum(ratio_of_variance - 1, 0) * confidence) ** 2 * warm
    departure = (deviation + c.baseline_weight * baseline) * mask
    repeats = (repeat_rate - c.usual[len(JUDGED) :]) * there
    vector = np.concatenate([departure, repeats], axis=1) * weight
    beyond = np.maximum(3 * np.abs(residual) / c.limit - 3, 0) * mask * familiar
    score = np.sqrt(np.maximum(((vector @ c.precision) * vector).sum(axis=1) + (beyond**2).sum(axis=1), 0))
    count = np.minimum(before.count + 1, WINDOW.learning_samples)
    last = np.where(there > 0, value, before.last)
    after = np.zeros_like(state)
    parts = CarState(count, baseline, deviation, point, last, repeat_rate, firmware, variance)
    for part, values_after in zip(columns, parts, strict=True):
        after[:, slice(*part)] = values_after
    return score, after


def test_a_closed_loop_is_what_numpy_says(graph: Graph, served: Interpreter, past: Floats) -> None:
    """Hundreds of steps with gaps, past the learning, each on what the one before left: no drifting apart."""
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
    """In a closed loop, in batches of any size; a batch's other cars do not matter."""
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
    """A fault that grows from nothing is foreseen, with the largest share where it is; the baseline stays."""
    limit = np.quantile(loop(served, past)[0][:, WINDOW.learning_samples :].max(axis=1), 0.95)
    for place, factor in ((TYRE, 0.7), (VIBRATION, 2.5)):
        faulty = np.tile(past[:, 30:], (1, 2, 1))
        faulty[:, :, place] *= np.linspace(1, factor, faulty.shape[1], dtype=np.float32)[None]
        score, contribution, after = loop(served, faulty, warm)
        moving = faulty[:, -20:, SPEED].min(axis=1) > 3
        assert (score[moving, -1] > limit).mean() > 0.8
        assert (contribution[moving, -1].argmax(axis=1) == place).mean() > 0.6
        columns = slice(*state_layout(DOMAIN, WINDOW, 1.0).baseline)
        unseen = warm[:, columns] == 0
        assert ((after == warm)[:, columns] | unseen).all(), "a frozen baseline learned the fault"


def test_nothing_enters_a_state_that_is_no_number(served: Interpreter, past: Floats) -> None:
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
    """NaN: its contribution is 0, its baseline and deviation stand still, and healthy cars stay healthy."""
    columns = state_layout(DOMAIN, WINDOW, 1.0)
    limit = np.quantile(served.run(past[:, -1], warm)[0], 0.999)
    for number, place in enumerate(JUDGED):
        sample = past[:, -1].copy()
        sample[:, place] = np.nan
        score, contribution, after = served.run(sample, warm)
        assert (contribution[:, place] == 0).all()
        for block in (columns.baseline, columns.deviation):
            assert (after[:, block[0] + number] == warm[:, block[0] + number]).all()
        assert (score > limit).mean() < 0.05, SIGNALS[place]
    nothing_there = np.full((3, len(SIGNALS)), np.nan, np.float32)
    assert served.run(nothing_there, warm[:3])[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("value", [np.inf, -np.inf, 3.4e38, -3.4e38, 1e12])
def test_values_beyond_sense_are_anomalies(
    served: Interpreter, past: Floats, warm: Floats, value: float
) -> None:
    """At once, and also of a car that nobody knows yet: finite, and far over those of healthy samples."""
    limit = loop(served, past)[0].max()
    for place in JUDGED:
        wild = past[:50, -1].copy()
        wild[:, SPEED] = 10  # ratios are judged while the car moves
        wild[:, place] = value
        for state in (warm[:50], np.zeros_like(warm[:50])):
            score = served.run(wild, state)[0]
            assert np.isfinite(score).all()
            assert (score > limit).all(), SIGNALS[place]


def test_a_new_car_scores_nothing_until_it_is_known(served: Interpreter, past: Floats) -> None:
    """A car is watched for its learning period; from then on it has scores."""
    score = loop(served, past)[0]
    assert (score[:, : WINDOW.learning_samples] == 0).all()
    assert (score[:, -1] > 0).all()


def test_a_stuck_sensor_is_seen_by_its_silence(served: Interpreter, past: Floats, warm: Floats) -> None:
    """The coolant's sensor says the same again and again, within what is usual: its share is the largest."""
    limit = np.quantile(loop(served, past)[0][:, WINDOW.learning_samples :].max(axis=1), 0.99)
    stuck = past[:, -20:].copy()
    stuck[:, :, COOLANT] = past[:, -21, COOLANT][:, None]
    score, contribution, _ = loop(served, stuck, warm)
    assert (score[:, -1] > limit).mean() > 0.95
    assert (contribution[:, -1].argmax(axis=1) == COOLANT).mean() > 0.9


def test_a_fault_goes_in_its_components_direction(
    graph: Graph, tflite: bytes, past: Floats, served: Interpreter, warm: Floats
) -> None:
    """A tyre that loses air, one that a brake heats, and a silent sensor are told apart in the state."""
    known = hypotheses(
        graph, tflite, past.reshape(-1, past.shape[2]), np.repeat(range(len(past)), past.shape[1])
    )
    assert known is not None
    recent = past[:, -20:]
    for name, column, moved in (
        ("tire_1_1", TYRE, recent[..., TYRE] * 0.95),
        ("brake_1_1", TYRE, recent[..., TYRE] * 1.05),
        ("coolant_temp_sensor", COOLANT, np.repeat(recent[:, :1, COOLANT], 20, axis=1)),
    ):
        after = loop(served, np.where(np.arange(len(SIGNALS)) == column, moved[..., None], recent), warm)[2]
        assert np.mean([known.of(state)[0] == name for state in after]) > 0.9


def test_a_new_model_keeps_what_the_old_one_knew_of_a_drift(
    graph: Graph, tflite: bytes, past: Floats
) -> None:
    """new.baseline -= old.deviation: a car that drifted while the new model learned it scores as before."""
    layout, served = state_layout(DOMAIN, WINDOW, 1.0), Interpreter(tflite, len(SIGNALS))
    drifted = np.tile(past[:, -30:], (1, 3, 1))
    drifted[:, :, TYRE] -= 1.5
    old = loop(served, past)[2]
    old = loop(served, drifted, old)[2]
    new = loop(served, drifted)[2]  # the same graph again stands for a new model: it saw only the drifted car
    handed_over = layout.inherited(new, layout, old)
    tyre = layout.baseline[0] + JUDGED.tolist().index(TYRE)
    before, learned, now = (state[:, tyre] for state in (old, new, handed_over))
    assert np.median(np.abs(now - before)) < 0.4 * np.median(np.abs(learned - before))
    kept, still = (served.run(drifted[:, -1], state)[0] for state in (handed_over, old))
    assert np.median(np.abs(kept / still - 1)) < 0.3


def test_no_signal_reaches_its_own_expectation(graph: Graph, past: Floats) -> None:
    """Neither the linear part nor the network can copy a fault: the expectation of a signal ignores it."""
    rows = past[:100, -1]
    state = np.zeros((100, graph.state_width), np.float32)
    for number, place in enumerate(JUDGED):
        moved = rows.copy()
        moved[:, place] += 3 * rows[:, place].std()
        inputs = []
        for each in (moved, rows):
            values, present = graph._standardised(each)
            inputs.append(np.asarray(graph._inputs(values, present, graph._parts(state))[0]).T)
        linear = graph.constants.linear.astype(np.float32)[:, number]
        assert np.abs((inputs[0] - inputs[1]) @ linear).max() == 0, SIGNALS[place]
        if graph.network is not no_network:
            correction = [np.asarray(graph.network(each))[:, number] for each in inputs]
            assert np.array_equal(correction[0], correction[1]), SIGNALS[place]


def test_a_car_with_another_firmware_is_learned_anew(served: Interpreter, past: Floats, warm: Floats) -> None:
    """What it changes is no fault: the car is as new, the version is kept; a missing one changes nothing."""
    newer = past[:, -1].copy()
    newer[:, -1] += 3000
    score, _, state = served.run(newer, warm)
    assert (score == 0).all()
    assert (state[:, SEEN] == 1).all()
    layout = state_layout(DOMAIN, WINDOW, 1.0)
    assert (state[:, slice(*layout.deviation)] == 0).all()
    assert (served.run(newer, state)[2][:, SEEN] == 2).all()
    newer[:, -1] = np.nan
    assert (served.run(newer, state)[2][:, SEEN] == 2).all()


def test_a_kind_of_car_that_no_training_car_is_raises_nothing(
    graph: Graph, served: Interpreter, past: Floats, warm: Floats
) -> None:
    """Restless in many signals while it was learned: silent. One broken sensor makes no car a stranger."""
    variance = graph.columns.variance[0]
    strange, sample = warm.copy(), past[:, -1].copy()
    strange[:, variance] = 7.1 * graph.constants.usual_variance
    sample[:, TYRE] *= 0.5
    assert (served.run(sample, warm)[0] > 1).all()
    assert (served.run(sample, strange)[0] == 0).all()
    broken = past[:50].copy()
    broken[:, ::2, COOLANT] = 1e6
    assert (loop(served, broken)[2][:, variance] < 6 * graph.constants.usual_variance).all()


def test_the_network_is_left_out_where_it_gains_nothing(past: Floats) -> None:
    """On signals that have nothing to do with each other the linear detector ships, and it is said."""
    rng = np.random.default_rng(1)
    rows = past.reshape(-1, len(SIGNALS))
    shuffled = np.stack([rng.permutation(column) for column in rows.T], axis=1).reshape(past.shape)
    graph, learned = taught(shuffled[:150], steps_max=100)
    network = learned.metrics["network"]
    assert (network["shipped"] == "linear") == (graph.network is no_network) == (learned.linear is None)
    assert network["gain"] < 0.01


def test_undetected_faulty_cars_hardly_move_what_is_learned(past: Floats, graph: Graph) -> None:
    """1 % of the training cars with a large fault: scores of the others are as before, within a tenth."""
    spoilt = past.copy()
    spoilt[:3, 35:, TYRE] *= 0.6
    other, learned = taught(spoilt, steps_max=200)
    assert learned.metrics["suspect_cars"] >= 2
    rows, car = past.reshape(-1, len(SIGNALS)), np.repeat(np.arange(CARS), SECONDS)
    highs = [np.quantile(replay(each.convert(), rows, car).score, 0.999) for each in (graph, other)]
    assert abs(highs[1] / highs[0] - 1) < 0.1


def test_training_is_repeatable(past: Floats, tflite: bytes) -> None:
    """The same rows and seed give the same bytes on this machine."""
    assert taught(past, steps_max=200)[0].convert() == tflite


def test_a_stop_ends_the_training(past: Floats) -> None:
    """SIGTERM in the middle of the training: it ends within a step, with nothing learned."""
    stop: Any = Stop()
    stop.request()
    with pytest.raises(Stopped):
        taught(past[:60], stop=stop)


def test_too_short_a_past_is_said(past: Floats) -> None:
    """Cars that nobody has watched for long enough cannot be learned from; the message says what to do."""
    with pytest.raises(ValueError, match="learn for a shorter time"):
        taught(past[:60, :30])
    with pytest.raises(ValueError, match="at least 1 and at most"):
        dataclasses.replace(WINDOW, memory_samples=31.0)
