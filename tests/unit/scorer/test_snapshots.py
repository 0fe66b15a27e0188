"""What is written of the cars is what a successor goes on with."""

from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from contract import records
from contract.alert_rule import AlertRule
from contract.telemetry import SIGNALS
from scorer.detector import Detector
from scorer.model import Model
from scorer.snapshots import Snapshots

from .fleet import Fleet

K = len(SIGNALS)

NAME, INTERVAL_S = "failure-detector", 10.0


@pytest.fixture
def make(remembering: Any) -> Any:
    """A model by its version."""

    def model(version: int, by: float = 0.0, **other: Any) -> Model:
        rule = {"threshold": 2.0, "alert": AlertRule(smoothing=0.5)}
        return Model.open(remembering.shifted(by).record(version, **(rule | other)), "litert")

    return model


def snapshots(detector: Detector, *earlier: Model, name: str = NAME) -> Snapshots:
    known = {model.manifest.version: model for model in earlier}
    return Snapshots(detector, name, INTERVAL_S, known.get)


def handed_on(old: Fleet, new: Fleet, *earlier: Model, partitions: tuple[int, ...] = (0,)) -> None:
    """What one replica writes at its end the other one reads."""
    written = snapshots(old.detector).of(partitions)
    snapshots(new.detector, *earlier).restore({key: (partition, value) for partition, key, value in written})
    new._seq = old._seq


def refused(reason: str) -> float:
    return REGISTRY.get_sample_value("scorer_states_refused_total", {"reason": reason}) or 0


def test_a_successor_scores_as_if_nothing_had_happened(make: Any, remembering: Any) -> None:
    """States, levels and open alerts are those of the replica before, car by car."""
    noise = np.random.default_rng(1)
    cars = ["a", "b", "c"] * 30
    size = np.where(np.arange(90) < 60, 1.0, 0.0)[:, None]
    signals = (remembering.mean + remembering.spread * size * noise.normal(size=(90, K))).astype(np.float32)
    one, two, other = Fleet(make(1)), Fleet(make(1)), Fleet(make(1))
    one.samples(cars, signals)
    two.samples(cars[:45], signals[:45])
    handed_on(two, other)
    other.samples(cars[45:], signals[45:])
    assert two.turns + other.turns == one.turns
    assert any(not opened for _, _, opened in other.turns)
    for car in "abc":
        np.testing.assert_array_equal(other.state(car, 1), one.state(car, 1))
    assert two.scores | other.scores == one.scores


def test_an_older_record_than_the_state_does_not_move_it(make: Any, remembering: Any) -> None:
    """A record that is read again after its car's state was restored is scored, and no more."""
    old, new = Fleet(make(1)), Fleet(make(1))
    old.samples(["a"] * 9, remembering.mean)
    handed_on(old, new)
    before = new.state("a", 1).copy()
    new.records([("a", 8), ("a", 9)], np.tile(remembering.mean + remembering.spread, (2, 1)))
    np.testing.assert_array_equal(new.state("a", 1), before)
    new.samples(["a"], remembering.mean)
    assert new.detector.seq.values[0] == 10


def test_a_hand_over_goes_on_after_a_restart(make: Any, remembering: Any) -> None:
    """A car that an older model scores has both states in its record, and both models go on."""
    old, new = Fleet(make(1)), Fleet(make(2, by=0.5))
    old.samples(["a"] * 8, remembering.mean)
    old.detector.add(make(2, by=0.5))
    old.samples(["a"] * 5 + ["b"], remembering.mean)
    handed_on(old, new, make(1))
    assert new.detector.generations.look() == (2, 1)
    for version in (1, 2):
        np.testing.assert_array_equal(new.state("a", version), old.state("a", version))
    new.samples(["a"] * 4, remembering.mean + remembering.spread * 5)
    assert [new.versions.get(("a", seq)) for seq in (14, 15, 16, 17)] == [1, 1, 1, 2]


def test_states_of_a_model_that_is_gone_are_refused(make: Any, remembering: Any) -> None:
    """The car is learned by the newest model, from what that knew of it already."""
    old, new, before = Fleet(make(1)), Fleet(make(2)), refused("unknown_model")
    old.samples(["a"] * 8, remembering.mean)
    old.detector.add(make(2))
    old.samples(["a"] * 5, remembering.mean)
    handed_on(old, new)
    assert refused("unknown_model") == before + 1
    assert new.detector.generations.look() == (1, 0)
    assert new.state("a", 2)[0] == 5


def test_other_models_and_broken_records_are_passed_over(make: Any, remembering: Any) -> None:
    """Another detector's states, junk, states of a wrong size or of no number: the car begins anew."""
    old, new = Fleet(make(1)), Fleet(make(1))
    old.samples(["a", "b", "c"], remembering.mean)
    written = {key: value for _, key, value in snapshots(old.detector).of([0])}
    short = records.decode(written[b"a"])[1]
    short["states"][0]["state"] = short["states"][0]["state"][:-4]
    broken = records.decode(written[b"b"])[1]
    broken["states"][0]["state"] = np.full(remembering.layout.width, np.nan, "<f4").tobytes()
    before = [refused("malformed"), refused("not_finite")]
    given = {
        b"a": records.encode("car_state", short),
        b"b": records.encode("car_state", broken),
        b"c": written[b"c"],
        b"d": b"junk",
        b"e": records.encode("car_state", short | {"model_name": "another"}),
    }
    snapshots(new.detector).restore({key: (0, value) for key, value in given.items()})
    assert [refused("malformed"), refused("not_finite")] == [before[0] + 2, before[1] + 1]
    assert new.detector.cars.ids == [b"a", b"b", b"c"]
    assert [new.state(car, 1)[0] for car in "abc"] == [0, 0, 1]


def test_what_changes_is_written_within_the_interval_and_a_bounded_number_at_a_time(
    make: Any, remembering: Any
) -> None:
    """Every changed car once, a few hundred beside a batch and more where there is time; then no more."""
    fleet = Fleet(make(1))
    fleet.samples([f"car-{number}" for number in range(3_000)], remembering.mean)
    some = snapshots(fleet.detector)
    some.due(1_000.0, with_a_batch=True)
    sizes = [len(some.due(1_000.1, with_a_batch=True)) for _ in range(2)]
    sizes += [len(some.due(1_000.2, with_a_batch=False)) for _ in range(2)]
    assert 0 < sizes[0] == sizes[1] < sizes[2]
    assert sum(sizes) + sizes[0] == 3_000
    fleet.samples(["car-5"], remembering.mean)
    assert some.due(1_000.3, with_a_batch=True) == []
    ((partition, key, _),) = some.due(1_000.0 + INTERVAL_S, with_a_batch=True)
    assert (partition, key) == (0, b"car-5")
    assert some.due(2_000.0, with_a_batch=True) == []


def test_only_partitions_that_are_given_up_are_written_at_once(make: Any, remembering: Any) -> None:
    """The others' turn comes; each state stands in the partition of its car's telemetry."""
    fleet = Fleet(make(1))
    for partition in (3, 5):
        fleet.records([(f"car-{partition}", 1)], remembering.mean[None], partition)
    some = snapshots(fleet.detector)
    assert [(partition, key) for partition, key, _ in some.of([5])] == [(5, b"car-5")]
    fleet.detector.forget({5})
    some.forget()
    assert [(partition, key) for partition, key, _ in some.due(1e9, with_a_batch=True)] == [(3, b"car-3")]


def test_without_states_only_alerts_are_written(detector: Any) -> None:
    """A model without state costs a record of a car only when its alert opens or closes."""
    model = Model.open(detector.record(1, threshold=12.0), "litert")
    fleet, successor = Fleet(model), Fleet(model)
    odd = detector.mean + detector.spread * 10
    fleet.samples(["a", "b", "b"], np.array([detector.mean, detector.mean, odd]))
    assert fleet.turns == [("b", 2, True)]
    assert [key for _, key, _ in snapshots(fleet.detector).of([0])] == [b"b"]
    fleet.samples(["b"], odd)
    fleet.detector.changed.values[1] = True
    handed_on(fleet, successor)
    successor.samples(["b"], detector.mean)
    assert successor.turns == [("b", 4, False)]
    assert len(successor.detector.alerts) == 0
