"""Until a new model has learned a car, the model before it scores the car."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from contract.telemetry import SIGNALS, Floats
from scorer.generations import GENERATIONS_MAX
from scorer.model import Model

from .fleet import Fleet

K = len(SIGNALS)


@pytest.fixture
def make(remembering: Any) -> Any:
    """A function that makes a model with a version; it expects the signals `by` spreads higher."""

    def model(version: int, by: float = 0.0, **other: Any) -> Model:
        other = {"threshold": 1e-30} | other
        return Model.open(remembering.shifted(by).record(version, **other), "litert")

    return model


@pytest.fixture
def stateless(detector: Any) -> Any:
    return lambda version: Model.open(detector.record(version, threshold=1e-30), "litert")


def test_the_first_model_scores_all(make: Any, remembering: Any) -> None:
    """Without a model before it the first one scores cars that it is still learning."""
    fleet = Fleet(make(1))
    fleet.samples(["a", "b", "a"], remembering.mean)
    assert fleet.detector.generations.counts() == (2, 0, 0)
    assert len(fleet.detector.generations) == 1


def test_a_car_is_scored_by_the_old_model_for_half_a_learning_period(make: Any, remembering: Any) -> None:
    """Cars are handed over one by one, each once the new model has seen enough of it beside the old one."""
    fleet, odd = Fleet(make(1)), remembering.mean + remembering.spread
    fleet.samples(["a", "b"] * 8, remembering.mean)
    fleet.detector.add(make(2, by=0.5))
    fleet.samples(["a"] * 5 + ["b"] * 3, odd)
    versions = {
        car: [fleet.versions[car, seq] for seq in range(9, 9 + count)] for car, count in (("a", 5), ("b", 3))
    }
    assert versions == {"a": [1] * 4 + [2], "b": [1] * 3}
    assert fleet.detector.generations.counts() == (1, 1, 0)


def test_a_drifting_car_keeps_its_score(make: Any, remembering: Any) -> None:
    """The new model inherits a growing deviation and does not learn it as normal."""
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
    assert [fleet.versions["a", 9 + step] for step in (33, 34)] == [1, 2]
    # Without the inheritance the score would fall to zero; it goes on growing with the drift.
    assert all(later > earlier for earlier, later in pairwise(scores[5:]))
    assert scores[59] == pytest.approx(np.sqrt(K) * 0.1 * (59 - 3), rel=0.05)


def test_other_units_are_not_inherited(make: Any, remembering: Any) -> None:
    """A model whose state has other units learns a drifted car as normal."""
    fleet = Fleet(make(1))
    fleet.samples(["a"] * 8, remembering.mean)
    fleet.samples(["a"] * 20, remembering.mean + remembering.spread)
    layout = replace(remembering.layout, units="others")
    fleet.detector.add(make(2, state=layout))
    fleet.samples(["a"] * 9, remembering.mean + remembering.spread)
    assert ("a", 36) in fleet.scores
    assert ("a", 37) not in fleet.scores


def test_a_new_car_goes_to_the_newest_model(make: Any, remembering: Any) -> None:
    """Neither model knows the car, so the newest one scores it."""
    fleet = Fleet(make(1))
    fleet.samples(["a"] * 8, remembering.mean)
    fleet.detector.add(make(2))
    fleet.samples(["b"] * 3, remembering.mean)
    generations = fleet.detector.generations
    assert generations.scored_by(fleet.number("b")).version == 2
    assert generations.scored_by(fleet.number("a")).version == 1
    assert generations.counts() == (2, 1, 0)


def test_cars_that_their_model_does_not_judge_are_counted(make: Any, remembering: Any) -> None:
    """A car of an unknown kind raises no alert: without the count nobody would notice."""
    layout = replace(remembering.layout, variance=(1, 2), strange_variance=0.75)
    fleet = Fleet(make(1, state=layout))
    fleet.samples(["a"] * 8, remembering.mean)
    fleet.samples(["b"] * 8, remembering.mean + remembering.spread)
    assert fleet.detector.generations.counts() == (0, 0, 1)


def test_a_car_that_the_old_model_has_not_learned_stays_until_it_has(make: Any, remembering: Any) -> None:
    """An old model that is still learning the car keeps it until it knows it, while the new one sees less."""
    fleet = Fleet(make(1))
    fleet.samples(["a"] * 3, remembering.mean)
    fleet.detector.add(make(2))
    fleet.samples(["a"] * 4, remembering.mean)
    assert fleet.detector.generations.scored_by(0).version == 1
    fleet.samples(["a"], remembering.mean)
    assert fleet.detector.generations.scored_by(0).version == 2


def test_a_car_of_a_kind_unknown_to_the_old_model_is_learned_anew(make: Any, remembering: Any) -> None:
    """What the old model thinks of it is of no use, and taken over it would be a drift for ever."""
    layout = replace(remembering.layout, variance=(1, 2), strange_variance=0.75)
    fleet, other_kind = Fleet(make(1, state=layout)), remembering.mean + remembering.spread
    fleet.samples(["a"] * 20, other_kind)
    fleet.detector.add(make(2, by=1.0, state=layout))
    fleet.samples(["a"] * 7, other_kind)
    assert fleet.detector.generations.scored_by(0).version == 1
    fleet.samples(["a"] * 2, other_kind)
    assert fleet.detector.generations.scored_by(0).version == 2
    assert fleet.detector.generations.counts() == (0, 0, 0)
    np.testing.assert_allclose(fleet.state("a", 2)[1:], 0, atol=1e-5)


def test_a_car_that_neither_model_has_learned_goes_to_the_new_one_after_as_many_samples(
    make: Any, remembering: Any
) -> None:
    """An old model that has not learned the car keeps it only until the new one has seen as many samples."""
    fleet = Fleet(make(1))
    fleet.samples(["a"] * 3, remembering.mean)
    fleet.detector.add(make(2))
    fleet.detector.generations.versions[1].column.values[0] = 0  # as after new firmware or a broken state
    fleet.samples(["a"], remembering.mean)
    assert fleet.detector.generations.scored_by(0).version == 2


def test_a_model_that_returns_brings_its_baselines(make: Any, remembering: Any) -> None:
    """After a rollback it scores the cars that it knew at once, and inherits the drift seen meanwhile."""
    fleet, drifted = Fleet(make(1)), remembering.mean + remembering.spread
    fleet.samples(["a"] * 8, remembering.mean)
    fleet.detector.add(make(2, by=3.0))
    fleet.samples(["a"] * 40, drifted)
    assert fleet.versions["a", 48] == 2
    before = fleet.scores["a", 48]
    fleet.detector.add(make(1))
    fleet.samples(["a"] * 2, drifted)
    assert [fleet.versions["a", seq] for seq in (49, 50)] == [2, 1]
    # The drift that both know, and no more than there is.
    assert 0.85 * np.sqrt(K) < before < fleet.scores["a", 50] < 1.001 * np.sqrt(K)


def test_a_model_that_returns_inherits_baselines_that_it_had_not_learned(make: Any, remembering: Any) -> None:
    """A car that it had not learned before is handed over to it as to a new model."""
    fleet, drifted = Fleet(make(1)), remembering.mean + remembering.spread
    fleet.detector.add(make(2, by=3.0))
    fleet.samples(["a"] * 8, remembering.mean)
    fleet.samples(["a"] * 30, drifted)
    fleet.detector.add(make(1))
    fleet.samples(["a"] * 12, drifted)
    assert fleet.versions["a", 50] == 1
    assert fleet.scores["a", 50] == pytest.approx(np.sqrt(K), rel=1e-2)


def test_models_in_quick_succession_leave_no_car_without_a_model(make: Any, remembering: Any) -> None:
    """Above the bound the oldest model is dropped, and the next one scores its cars."""
    fleet = Fleet(make(1))
    fleet.samples(["a"] * 8, remembering.mean)
    for version in range(2, 3 + GENERATIONS_MAX):
        fleet.detector.add(make(version))
        assert len(fleet.detector.generations) <= GENERATIONS_MAX
        fleet.samples(["a"] * 2, remembering.mean + remembering.spread)
    scored = {seq: fleet.versions.get(("a", seq)) for seq in range(9, 17)}
    assert [scored[seq] for seq in (9, 10, 11, 12)] == [1, 1, 1, 1]
    fleet.samples(["a"] * 9, remembering.mean)
    assert fleet.detector.generations.counts() == (0, 0, 0)


def test_after_the_hand_over_only_the_predecessor_stays(make: Any, remembering: Any) -> None:
    """It may have to come back; older models are dropped with their arrays."""
    fleet = Fleet()
    for version in (1, 2, 3):
        fleet.detector.add(make(version))
        fleet.samples(["a"] * 9, remembering.mean)
    assert list(fleet.detector.generations.versions) == [2, 3]
    columns = [column for column in fleet.detector.cars._columns if column.values.ndim == 2]
    assert len(columns) == 2


def test_a_model_without_state_takes_over_at_once(make: Any, stateless: Any, remembering: Any) -> None:
    """It has nothing to learn; a model with state that follows it takes over after its learning period."""
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
    """The champion may be published again, as after a restart of the trainer."""
    fleet = Fleet(make(1))
    fleet.samples(["a"] * 5, remembering.mean)
    fleet.detector.add(make(1))
    assert fleet.state("a", 1)[0] == 5
    assert len(fleet.detector.generations) == 1


def drive(fleet: Fleet, cars: list[str], count: int, signals: Any) -> None:
    """Give every car so many samples, one after the other; signals(number) is (cars, K) or (K,)."""
    for number in range(count):
        fleet.samples(cars, signals(number))


def test_the_noise_of_hand_overs_does_not_add_up(make: Any, remembering: Any) -> None:
    """After seven hand-overs the baseline is still the first one, whatever the car did meanwhile."""
    fleet, noise = Fleet(make(1)), np.random.default_rng(1)
    drive(fleet, ["a"], 8, lambda _: remembering.mean + remembering.spread * noise.normal(size=K))
    baseline = slice(*remembering.layout.baseline)
    first = fleet.state("a", 1)[baseline].copy()
    for version in range(2, 9):
        fleet.detector.add(make(version))
        drive(fleet, ["a"], 10, lambda _: remembering.mean + remembering.spread * noise.normal(size=K))
        assert fleet.detector.generations.scored_by(0).version == version
    np.testing.assert_allclose(fleet.state("a", 8)[baseline], first, atol=1e-4)


@pytest.mark.parametrize("a_night", [1, 2, 3, 5])
def test_a_car_that_drives_little_gets_on_although_a_model_comes_every_night(
    make: Any, remembering: Any, a_night: int
) -> None:
    """It learns one model to its end and then the newest one, so the one that scores it is never old."""
    fleet, oldest = Fleet(make(1)), 0
    fleet.samples(["slow", "fast"] * 8, remembering.mean)
    for night in range(2, 22):
        fleet.detector.add(make(night))
        drive(fleet, ["fast"], 8, lambda _: remembering.mean)
        drive(fleet, ["slow"], a_night, lambda _: remembering.mean)
        generations = fleet.detector.generations
        assert len(generations) <= GENERATIONS_MAX
        assert generations.scored_by(fleet.number("fast")).version == night
        scored_by = generations.scored_by(fleet.number("slow"))
        assert scored_by.warm(np.array([fleet.number("slow")])).all()
        oldest = max(oldest, a_night * (night - scored_by.version))
    assert oldest <= 2 * remembering.layout.handover_samples + a_night


def names(count: int) -> list[str]:
    return [f"car{number:03}" for number in range(count)]


def handed_over(make: Any, remembering: Any, cars: int) -> Floats:
    """The scores of cars that all drifted by 2 spreads, the first by 8 more, by a model that expects it."""
    fleet, noise = Fleet(make(1)), np.random.default_rng(1)
    drift = np.where(np.arange(cars) == 0, 10.0, 2.0)[:, None]

    def signals(by: Any) -> Any:
        return lambda _: remembering.mean + remembering.spread * (by + 0.1 * noise.normal(size=(cars, K)))

    drive(fleet, names(cars), 8, signals(0.0))
    drive(fleet, names(cars), 20, signals(drift))
    fleet.detector.add(make(2, by=2.0))
    drive(fleet, names(cars), 10, signals(drift))
    assert {fleet.versions[car, 38] for car in names(cars)} == {2}
    return np.array([fleet.scores[car, 38] for car in names(cars)], np.float32) / np.float32(np.sqrt(K))


def test_what_all_cars_have_in_common_is_not_inherited(make: Any, remembering: Any) -> None:
    """A change of the whole fleet is normal for a model that was learned after it; a single car's is not."""
    score = handed_over(make, remembering, cars=40)
    assert (score[1:] < 0.5).all()
    assert score[0] == pytest.approx(8, rel=0.1)


def test_a_few_cars_inherit_all(make: Any, remembering: Any) -> None:
    """Among five cars nobody can tell a change of the fleet from faults."""
    score = handed_over(make, remembering, cars=5)
    np.testing.assert_allclose(score, [10, 2, 2, 2, 2], rtol=0.1)


def test_a_withdrawn_model_is_not_learned_to_its_end(make: Any, remembering: Any) -> None:
    """After a rollback cars that still learned the withdrawn model stay with, or learn, the one before it."""
    fleet = Fleet(make(1))
    fleet.samples(["a", "b"] * 8, remembering.mean)
    fleet.detector.add(make(2))
    fleet.samples(["a"] * 5 + ["b"] * 2, remembering.mean)
    fleet.detector.add(make(1))
    fleet.samples(["a", "b"] * 6, remembering.mean)
    assert fleet.detector.generations.counts() == (0, 0, 0)
    assert fleet.detector.generations.newest.version == 1
