"""Car states that one replica writes and another restores."""

from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from contract import records
from contract.alert_rule import AlertRule
from contract.telemetry import SIGNALS
from scorer.detector import AnomalyDetector
from scorer.model import Model
from scorer.snapshots import Snapshots

from .fleet import Fleet

K = len(SIGNALS)

NAME, INTERVAL_S = "failure-detector", 10.0


@pytest.fixture
def make(remembering: Any) -> Any:
    """A function that makes a model with a version."""

    def model(version: int, by: float = 0.0, **other: Any) -> Model:
        rule = {"threshold": 2.0, "alert": AlertRule(smoothing=0.5)}
        return Model.open(remembering.shifted(by).record(version, **(rule | other)), "litert")

    return model


def snapshots(detector: AnomalyDetector, *earlier: Model, name: str = NAME) -> Snapshots:
    by_version = {model.manifest.version: model for model in earlier}
    return Snapshots(detector, name, INTERVAL_S, by_version.get)


def hand_over(old: Fleet, new: Fleet, *earlier: Model, partitions: tuple[int, ...] = (0,)) -> None:
    """Let one replica write its states and the other one restore them."""
    written = snapshots(old.detector).changed_in(partitions)
    snapshots(new.detector, *earlier).restore({key: (partition, value) for partition, key, value in written})
    new._seq = old._seq


def refused(reason: str) -> float:
    return REGISTRY.get_sample_value("scorer_states_refused_total", {"reason": reason}) or 0


def test_a_successor_scores_as_one_replica_would(make: Any, remembering: Any) -> None:
    """States, levels and open alerts of every car are those of the replica before."""
    noise = np.random.default_rng(1)
    cars = ["a", "b", "c"] * 30
    size = np.where(np.arange(90) < 60, 1.0, 0.0)[:, None]
    signals = (remembering.mean + remembering.spread * size * noise.normal(size=(90, K))).astype(np.float32)
    one, first, second = Fleet(make(1)), Fleet(make(1)), Fleet(make(1))
    one.samples(cars, signals)
    first.samples(cars[:45], signals[:45])
    hand_over(first, second)
    second.samples(cars[45:], signals[45:])
    assert first.changes + second.changes == one.changes
    assert any(not opened for _, _, opened in second.changes)
    for car in "abc":
        np.testing.assert_array_equal(second.state(car, 1), one.state(car, 1))
    assert first.scores | second.scores == one.scores


def test_a_record_older_than_the_state_does_not_change_it(make: Any, remembering: Any) -> None:
    """A record that is read again after its car's state was restored is scored and changes nothing."""
    old, new = Fleet(make(1)), Fleet(make(1))
    old.samples(["a"] * 9, remembering.mean)
    hand_over(old, new)
    before = new.state("a", 1).copy()
    new.records([("a", 8), ("a", 9)], np.tile(remembering.mean + remembering.spread, (2, 1)))
    np.testing.assert_array_equal(new.state("a", 1), before)
    new.samples(["a"], remembering.mean)
    assert new.detector.seq.values[0] == 10


def test_a_clock_that_was_set_back_adds_no_sample_twice(make: Any, remembering: Any) -> None:
    """Samples from before are in the state, although their times are later than that of the last one."""
    old, new = Fleet(make(1)), Fleet(make(1))
    noise = np.random.default_rng(1).normal(size=(12, K))
    signals = (remembering.mean + remembering.spread * noise).astype(np.float32)
    at_ms = [*range(100_000, 109_000, 1_000), 1_000, 2_000, 3_000]
    old.records([("a", seq) for seq in range(1, 13)], signals, at_ms=at_ms)
    hand_over(old, new)
    new.records([("a", seq) for seq in range(5, 13)], signals[4:], at_ms=at_ms[4:])
    np.testing.assert_array_equal(new.state("a", 1), old.state("a", 1))


def test_a_hand_over_goes_on_after_a_restart(make: Any, remembering: Any) -> None:
    """The record of a car that an older model scores has both states, and both models go on."""
    old, new = Fleet(make(1)), Fleet(make(2, by=0.5))
    old.samples(["a"] * 8, remembering.mean)
    old.detector.add(make(2, by=0.5))
    old.samples(["a"] * 2 + ["b"], remembering.mean)
    hand_over(old, new, make(1))
    assert new.detector.generations.counts() == (2, 1, 0)
    for version in (1, 2):
        np.testing.assert_array_equal(new.state("a", version), old.state("a", version))
    new.samples(["a"] * 3, remembering.mean + remembering.spread * 5)
    assert [new.versions.get(("a", seq)) for seq in (11, 12, 13)] == [1, 1, 2]


def test_what_was_watched_of_the_old_model_survives_a_restart(make: Any, remembering: Any) -> None:
    """The car is handed over with the same baseline as without a restart, by the model that it began with."""
    noise = np.random.default_rng(1)
    signals = (remembering.mean + remembering.spread * noise.normal(size=(20, K))).astype(np.float32)
    one, first, second = Fleet(make(1)), Fleet(make(1)), Fleet(make(3, by=1.0))
    for fleet in (one, first):
        fleet.samples(["a"] * 12, signals[:12])
        fleet.detector.add(make(2, by=0.5))
        fleet.samples(["a"] * 2, signals[12:14])
        fleet.detector.add(make(3, by=1.0))
    hand_over(first, second, make(1), make(2, by=0.5))
    for fleet in (one, second):
        fleet.samples(["a"] * 2, signals[14:16])
        assert fleet.detector.generations.scored_by(0).version == 2
        fleet.samples(["a"] * 3, signals[16:19])
    np.testing.assert_allclose(second.state("a", 2), one.state("a", 2), atol=1e-6)
    np.testing.assert_allclose(second.state("a", 3), one.state("a", 3), atol=1e-6)


def test_states_of_a_model_that_is_gone_are_refused(make: Any, remembering: Any) -> None:
    """The newest model goes on learning the car from its own state."""
    old, new, before = Fleet(make(1)), Fleet(make(2)), refused("unknown_model")
    old.samples(["a"] * 8, remembering.mean)
    old.samples(["a"], remembering.mean + remembering.spread)
    old.detector.add(make(2))
    old.samples(["a"] * 3, remembering.mean)
    assert old.state("a", 2)[slice(*remembering.layout.deviation)].any()
    hand_over(old, new)
    assert refused("unknown_model") == before + 1
    assert new.detector.generations.counts() == (1, 0, 0)
    assert new.state("a", 2)[0] == 3
    assert not new.state("a", 2)[
        slice(*remembering.layout.deviation)
    ].any()  # watched of a model that is gone


def test_records_of_other_models_and_malformed_ones_are_refused(make: Any, remembering: Any) -> None:
    """Another model's states, junk, states of a wrong size or with NaN: the car is learned anew."""
    old, new = Fleet(make(1)), Fleet(make(1))
    old.samples(["a", "b", "c"], remembering.mean)
    written = {key: value for _, key, value in snapshots(old.detector).changed_in([0])}
    short = records.decode(written[b"a"])[1]
    short["states"][0]["state"] = short["states"][0]["state"][:-4]
    broken = records.decode(written[b"b"])[1]
    broken["states"][0]["state"] = np.full(remembering.layout.width, np.nan, "<f4").tobytes()
    before = [refused("malformed"), refused("not_finite")]
    last = {
        b"a": records.encode("car_state", short),
        b"b": records.encode("car_state", broken),
        b"c": written[b"c"],
        b"d": b"junk",
        b"e": records.encode("car_state", short | {"model_name": "another"}),
    }
    snapshots(new.detector).restore({key: (0, value) for key, value in last.items()})
    assert [refused("malformed"), refused("not_finite")] == [before[0] + 2, before[1] + 1]
    assert new.detector.cars.ids == [b"a", b"b", b"c"]
    assert [new.state(car, 1)[0] for car in "abc"] == [0, 0, 1]


def test_changed_states_are_written_once_an_interval_a_bounded_number_at_a_time(
    make: Any, remembering: Any
) -> None:
    """Every changed car is written once: a few hundred with a batch, more without one."""
    fleet = Fleet(make(1))
    fleet.samples([f"car-{number}" for number in range(3_000)], remembering.mean)
    writer = snapshots(fleet.detector)
    writer.due(1_000.0, with_a_batch=True)
    sizes = [len(writer.due(1_000.1, with_a_batch=True)) for _ in range(2)]
    sizes += [len(writer.due(1_000.2, with_a_batch=False)) for _ in range(2)]
    assert 0 < sizes[0] == sizes[1] < sizes[2]
    assert sum(sizes) + sizes[0] == 3_000
    fleet.samples(["car-5"], remembering.mean)
    assert writer.due(1_000.3, with_a_batch=True) == []
    ((partition, key, _),) = writer.due(1_000.0 + INTERVAL_S, with_a_batch=True)
    assert (partition, key) == (0, b"car-5")
    assert writer.due(2_000.0, with_a_batch=True) == []


def test_only_partitions_that_are_given_up_are_written_at_once(make: Any, remembering: Any) -> None:
    """Other partitions are written later; each state is in the partition of its car's telemetry."""
    fleet = Fleet(make(1))
    for partition in (3, 5):
        fleet.records([(f"car-{partition}", 1)], remembering.mean[None], partition)
    writer = snapshots(fleet.detector)
    assert [(partition, key) for partition, key, _ in writer.changed_in([5])] == [(5, b"car-5")]
    fleet.detector.cars.forget({5})
    writer.forget()
    assert [(partition, key) for partition, key, _ in writer.due(1e9, with_a_batch=True)] == [(3, b"car-3")]


def test_a_model_without_state_writes_only_alerts(detector: Any) -> None:
    """A car has a record only when its alert opens or closes."""
    model = Model.open(detector.record(1, threshold=12.0), "litert")
    fleet, successor = Fleet(model), Fleet(model)
    odd = detector.mean + detector.spread * 10
    fleet.samples(["a", "b", "b"], np.array([detector.mean, detector.mean, odd]))
    assert fleet.changes == [("b", 2, True)]
    assert [key for _, key, _ in snapshots(fleet.detector).changed_in([0])] == [b"b"]
    fleet.samples(["b"], odd)
    fleet.detector.changed.values[1] = True
    hand_over(fleet, successor)
    successor.samples(["b"], detector.mean)
    assert successor.changes == [("b", 4, False)]
    assert len(successor.detector.alerts) == 0
