"""A new model blinds no car: the one before scores it until the new one has learned it."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from contract.telemetry import SIGNALS
from scorer.generations import GENERATIONS_MAX
from scorer.model import Model

from .fleet import Fleet

K = len(SIGNALS)


@pytest.fixture
def make(remembering: Any) -> Any:
    """A model by its version, that expects signals to be by so many spreads higher."""

    def model(version: int, by: float = 0.0, **other: Any) -> Model:
        other = {"threshold": 1e-30} | other
        return Model.open(remembering.shifted(by).record(version, **other), "litert")

    return model


@pytest.fixture
def stateless(detector: Any) -> Any:
    return lambda version: Model.open(detector.record(version, threshold=1e-30), "litert")


def test_the_first_model_scores_all(make: Any, remembering: Any) -> None:
    """With nothing before it there is nothing to wait for: all is scored, and its cars are learning."""
    fleet = Fleet(make(1))
    fleet.samples(["a", "b", "a"], remembering.mean)
    assert fleet.detector.generations.look() == (2, 0)
    assert len(fleet.detector.generations) == 1


def test_a_car_is_scored_by_the_old_model_until_the_new_one_is_warm(make: Any, remembering: Any) -> None:
    """Each sample is scored by one of them; the hand-over is car by car, after the learning period."""
    fleet, odd = Fleet(make(1)), remembering.mean + remembering.spread
    fleet.samples(["a", "b"] * 8, remembering.mean)
    fleet.detector.add(make(2, by=0.5))
    fleet.samples(["a"] * 9 + ["b"] * 3, odd)
    versions = {
        car: [fleet.versions[car, seq] for seq in range(9, 9 + count)] for car, count in (("a", 9), ("b", 3))
    }
    assert versions == {"a": [1] * 8 + [2], "b": [1] * 3}
    assert fleet.detector.generations.look() == (1, 1)


def test_a_drifting_car_keeps_its_score(make: Any, remembering: Any) -> None:
    """What the old model had seen of a growing deviation is not learned as normal by the new one."""
    fleet, noise = Fleet(make(1)), np.random.default_rng(1)
    fleet.samples(["a"] * 8, remembering.mean)
    for step in range(60):
        if step == 30:
            fleet.detector.add(make(2, by=0.5))
        fleet.samples(
            ["a"],
            remembering.mean + remembering.spread * (0.1 * step + 0.01 * noise.normal(size=K)),
        )
    scores = [fleet.scores["a", seq] for seq in range(9, 69)]
    assert [fleet.versions["a", 9 + step] for step in (37, 38)] == [1, 2]
    # Without the inheritance the score would fall to nothing; it goes on growing by the drift of a sample.
    assert all(later > sooner for sooner, later in pairwise(scores[5:]))
    assert scores[59] == pytest.approx(np.sqrt(K) * 0.1 * (59 - 3), rel=0.05)


def test_other_units_are_relearned_without_inheritance(make: Any, remembering: Any) -> None:
    """A model that measures in other units takes a drifted car as it finds it."""
    fleet = Fleet(make(1))
    fleet.samples(["a"] * 8, remembering.mean)
    fleet.samples(["a"] * 20, remembering.mean + remembering.spread)
    other = replace(remembering.layout, units="others")
    fleet.detector.add(make(2, state=other))
    fleet.samples(["a"] * 9, remembering.mean + remembering.spread)
    assert ("a", 36) in fleet.scores
    assert ("a", 37) not in fleet.scores


def test_a_new_car_goes_to_the_newest_model(make: Any, remembering: Any) -> None:
    """The old model knows nothing more about a car that it had not met."""
    fleet = Fleet(make(1))
    fleet.samples(["a"] * 8, remembering.mean)
    fleet.detector.add(make(2))
    fleet.samples(["b"] * 3, remembering.mean)
    generations = fleet.detector.generations
    assert generations.scored_by(fleet.place("b")).version == 2
    assert generations.scored_by(fleet.place("a")).version == 1
    assert generations.look() == (2, 1)


def test_a_car_that_the_old_model_was_learning_changes_once_the_new_one_knows_as_much(
    make: Any, remembering: Any
) -> None:
    """Nobody waits for a model that never learned the car."""
    fleet = Fleet(make(1))
    fleet.samples(["a"] * 3, remembering.mean)
    fleet.detector.add(make(2))
    fleet.samples(["a"] * 5, remembering.mean)
    assert fleet.detector.generations.scored_by(0).version == 1
    fleet.samples(["a"] * 3, remembering.mean)
    assert fleet.detector.generations.scored_by(0).version == 2


def test_a_model_that_returns_brings_its_baselines(make: Any, remembering: Any) -> None:
    """Rolled back, it goes on at once with cars that it knew, and takes over what was seen meanwhile."""
    fleet, drifted = Fleet(make(1)), remembering.mean + remembering.spread
    fleet.samples(["a"] * 8, remembering.mean)
    fleet.detector.add(make(2, by=3.0))
    fleet.samples(["a"] * 40, drifted)
    assert fleet.versions["a", 48] == 2
    before = fleet.scores["a", 48]
    fleet.detector.add(make(1))
    fleet.samples(["a"] * 2, drifted)
    assert [fleet.versions["a", seq] for seq in (49, 50)] == [2, 1]
    # What both know of the drift, and no more than there is.
    assert 0.85 * np.sqrt(K) < before < fleet.scores["a", 50] < 1.001 * np.sqrt(K)


def test_of_a_model_that_returns_only_learned_baselines_count_as_old(make: Any, remembering: Any) -> None:
    """A car that it had not learned before is handed over to it as to a new one."""
    fleet, drifted = Fleet(make(1)), remembering.mean + remembering.spread
    fleet.detector.add(make(2, by=3.0))
    fleet.samples(["a"] * 8, remembering.mean)
    fleet.samples(["a"] * 30, drifted)
    fleet.detector.add(make(1))
    fleet.samples(["a"] * 12, drifted)
    assert fleet.versions["a", 50] == 1
    assert fleet.scores["a", 50] == pytest.approx(np.sqrt(K), rel=1e-2)


def test_models_in_quick_succession_leave_no_car_without_one(make: Any, remembering: Any) -> None:
    """Each newer one is learned beside the one that scores; the bound gives up the oldest, and it goes on."""
    fleet = Fleet(make(1))
    fleet.samples(["a"] * 8, remembering.mean)
    for version in range(2, 3 + GENERATIONS_MAX):
        fleet.detector.add(make(version))
        assert len(fleet.detector.generations) <= GENERATIONS_MAX
        fleet.samples(["a"] * 2, remembering.mean + remembering.spread)
    scored = {seq: fleet.versions.get(("a", seq)) for seq in range(9, 17)}
    assert [scored[seq] for seq in (9, 10, 11, 12)] == [1, 1, 1, 1]
    fleet.samples(["a"] * 9, remembering.mean)
    assert fleet.detector.generations.look() == (0, 0)


def test_of_a_handed_over_fleet_only_the_predecessor_stays(make: Any, remembering: Any) -> None:
    """It may have to come back; what came before it is dropped with its arrays."""
    fleet = Fleet()
    for version in (1, 2, 3):
        fleet.detector.add(make(version))
        fleet.samples(["a"] * 9, remembering.mean)
    assert list(fleet.detector.generations.versions) == [2, 3]
    columns = [column for column in fleet.detector.cars._columns if column.values.ndim == 2]
    assert len(columns) == 2


def test_without_a_state_there_is_nothing_to_wait_for(make: Any, stateless: Any, remembering: Any) -> None:
    """A model without state takes over at once; one with state follows it once it is warm."""
    fleet, odd = Fleet(stateless(1)), remembering.mean + remembering.spread
    fleet.samples(["a"], odd)
    fleet.detector.add(stateless(2))
    fleet.samples(["a"], odd)
    fleet.detector.add(make(3))
    fleet.samples(["a"] * 9, odd)
    assert [fleet.versions.get(("a", seq)) for seq in (1, 2, 3, 10, 11)] == [1, 2, 2, 2, None]
    fleet.detector.add(stateless(4))
    fleet.samples(["a"], odd)
    assert fleet.versions["a", 12] == 4


def test_a_newer_record_of_the_same_version_keeps_the_states(make: Any, remembering: Any) -> None:
    """The champion published again, as after a restart of the trainer, costs nothing."""
    fleet = Fleet(make(1))
    fleet.samples(["a"] * 5, remembering.mean)
    fleet.detector.add(make(1))
    assert fleet.state("a", 1)[0] == 5
    assert len(fleet.detector.generations) == 1
