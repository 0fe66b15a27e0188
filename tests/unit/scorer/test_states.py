"""The states of many cars in arrays equal those of each car alone."""

import random
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from contract.telemetry import SIGNALS
from scorer.model import Model

from .fleet import Fleet


@pytest.fixture
def model(remembering: Any) -> Model:
    """A model with states whose threshold is near 0, so that all scores but 0 are detections."""
    return Model.open(remembering.record(1, threshold=1e-30), "litert")


class PlainLoop:
    """The expected scores and states, computed record by record."""

    def __init__(self, remembering: Any) -> None:
        self.step = remembering.step
        self.states: dict[str, Any] = {}
        self.seen: dict[str, set[int]] = {}

    def batch(self, records: list[tuple[str, int]], signals: Any) -> dict[tuple[str, int], float]:
        scores, late = {}, []
        for (car, seq), row in zip(records, signals, strict=True):
            seen = self.seen.setdefault(car, set())
            if seq in seen or (seen and seq < min(seen)):
                continue
            if seen and seq < max(seen):
                late.append((car, seq, row))
            else:
                scores[car, seq] = self.score(car, row, moves=True)
            seen.add(seq)
        return scores | {(car, seq): self.score(car, row, moves=False) for car, seq, row in late}

    def score(self, car: str, row: Any, moves: bool) -> float:
        state = self.states.get(car, np.zeros((1, 1 + 2 * len(SIGNALS)), np.float32))
        score, _, after = self.step(row[None], state)
        if moves:
            self.states[car] = after
        return float(score[0])


@pytest.mark.parametrize("cars", [1, 3, 50])
@pytest.mark.parametrize("seed", range(2))
def test_random_batches_equal_a_plain_loop(remembering: Any, model: Model, seed: int, cars: int) -> None:
    """With duplicates, gaps, late records and several of a car in a batch, scores and states are equal."""
    chance, noise = random.Random(seed), np.random.default_rng(seed)
    fleet, plain, expected = Fleet(model), PlainLoop(remembering), {}
    last = [chance.randrange(3) for _ in range(cars)]
    for _ in range(12):
        records = []
        for _ in range(chance.choice([1, 40, 120])):
            car = chance.randrange(cars)
            last[car] = max(0, last[car] + chance.choices([1, 2, 0, -chance.randrange(4)], [85, 5, 5, 5])[0])
            records.append((f"car-{car}", last[car]))
        signals = (remembering.mean + noise.normal(size=(len(records), len(SIGNALS))) * 3).astype(np.float32)
        signals[noise.random(signals.shape) < 0.01] = np.nan
        expected |= plain.batch(records, signals)
        fleet.records(records, signals)
    scores = {record: score for record, score in expected.items() if score > 0}
    assert fleet.scores.keys() == scores.keys()
    np.testing.assert_allclose([fleet.scores[r] for r in scores], list(scores.values()), rtol=1e-4, atol=1e-5)
    for car, state in plain.states.items():
        np.testing.assert_allclose(fleet.state(car, 1), state[0], rtol=1e-4, atol=1e-5)


def test_late_and_repeated_records_do_not_move_a_state(remembering: Any, model: Model) -> None:
    """A late record is scored with the newest state of its car."""
    fleet = Fleet(model)
    fleet.records([("a", seq) for seq in [*range(1, 12), 13]], np.tile(remembering.mean, (12, 1)))
    before = fleet.state("a", 1).copy()
    odd = np.tile(remembering.mean + remembering.spread, (3, 1))
    fleet.records([("a", 12), ("a", 13), ("a", 2)], odd)
    assert set(fleet.scores) == {("a", 12)}
    np.testing.assert_array_equal(fleet.state("a", 1), before)


def test_a_state_that_is_not_finite_is_learned_anew(remembering: Any, model: Model) -> None:
    """An infinite signal resets the state of its car only, and is counted."""
    name, labels = "scorer_states_refused_total", {"reason": "not_finite"}
    before = REGISTRY.get_sample_value(name, labels) or 0
    fleet = Fleet(model)
    fleet.samples(["a", "b"] * 10, remembering.mean)
    assert fleet.state("a", 1)[0] == fleet.state("b", 1)[0] == 8
    broken = np.tile(remembering.mean, (2, 1))
    broken[0, 4] = np.inf
    fleet.samples(["a", "b"], broken)
    assert REGISTRY.get_sample_value(name, labels) == before + 1
    assert not fleet.state("a", 1).any()
    assert fleet.state("b", 1)[0] == 8
    fleet.samples(["a", "b"] * 9, remembering.mean)
    assert fleet.state("a", 1)[0] == 8


def test_large_finite_states_stay(remembering: Any, model: Model) -> None:
    """Values whose sum overflows a float are finite themselves."""
    fleet = Fleet(model)
    huge = remembering.mean.copy()
    huge[9:13] = 3e38
    fleet.samples(["a", "b"], huge)
    assert np.isfinite(fleet.state("a", 1)).all()
    assert fleet.state("a", 1)[0] == 1


def test_cars_of_other_partitions_keep_their_states(remembering: Any, model: Model) -> None:
    """Cars of a partition that was given up are new again; the others keep their states under new numbers."""
    fleet = Fleet(model)
    for number, partition in enumerate((0, 1, 0, 1)):
        signals = np.tile(remembering.mean + number, (3, 1))
        fleet.records([(f"car-{number}", seq) for seq in (1, 2, 3)], signals, partition)
    kept = {car: fleet.state(car, 1).copy() for car in ("car-1", "car-3")}
    fleet.detector.cars.forget({0})
    assert fleet.detector.cars.ids == [b"car-1", b"car-3"]
    for car, state in kept.items():
        np.testing.assert_array_equal(fleet.state(car, 1), state)
    fleet.records([("car-0", 9)], remembering.mean[None])
    assert fleet.state("car-0", 1)[0] == 1


def test_more_cars_than_the_arrays_hold(remembering: Any, model: Model) -> None:
    """The arrays grow and keep what they hold."""
    fleet = Fleet(model)
    fleet.samples(["first"] * 3, remembering.mean)
    fleet.samples([f"car-{number}" for number in range(3_000)], remembering.mean)
    assert fleet.state("first", 1)[0] == 3
    assert fleet.state("car-2999", 1)[0] == 1
