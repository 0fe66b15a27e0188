"""Graphs that are learned from a small fleet, run in a closed loop, and the same step in plain numpy."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import SIGNALS, Floats
from plumbing.tflite import Interpreter
from trainer.model.domain import fleet_domain
from trainer.model.graph import Graph
from trainer.model.learning import Learned, learn
from trainer.model.state import CarState, Window

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


def taught(past: Floats, **options: Any) -> tuple[Graph, Learned]:
    cars, seconds, count = past.shape
    return learn(DOMAIN, past.reshape(-1, count), np.repeat(np.arange(cars), seconds), WINDOW, 1, **options)


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
    known = np.clip(point, c.low[width:] / 1.5, c.high[width:] / 1.5)
    charted = 1 / (1 + np.abs(point - known).sum(axis=1, keepdims=True))
    weight = familiar * charted / (1 + np.maximum(ratio_of_variance - 1, 0) * confidence) ** 2 * warm
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
