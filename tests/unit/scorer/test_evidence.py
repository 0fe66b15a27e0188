"""What scorers count of the models at work."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from confluent_kafka import KafkaError
from prometheus_client import REGISTRY

from contract import records
from contract.alert_rule import AlertRule, advance
from contract.evidence import LEVELS, Evidence
from contract.joined import Joined
from contract.telemetry import SIGNALS, Decoded
from scorer import results as results_module
from scorer.alerts import Alert, Alerts
from scorer.cars import ByCar, CarTable
from scorer.evidence import Counts
from scorer.model import Model
from scorer.results import Results
from scorer.scoring import Scored
from scorer.source import Source

from .fleet import Fleet

K = len(SIGNALS)
RULE = AlertRule(smoothing=0.5, close_ratio=0.8)


@pytest.fixture
def make(remembering: Any) -> Any:
    """A function that makes a model with a version and memory."""
    return lambda version, **other: Model.open(
        remembering.record(version, **({"threshold": 2.0, "alert": RULE} | other)), "litert"
    )


def taken(fleet: Fleet) -> list[Evidence]:
    return fleet.detector.take_evidence("s", 1, 2)


def test_crossings_are_those_of_the_alert_rule_at_every_level() -> None:
    """For random scores each count is that of `advance` with this threshold, one car and score at a time."""
    random, cars, count = np.random.default_rng(1), CarTable(), 20
    alerts, counts = Alerts(cars), Counts()
    cars.numbers(Joined.of([b"car-%d" % car for car in range(count)]), np.zeros(count, np.int32))
    level, is_open = np.zeros((16, count), np.float32), np.zeros((16, count), np.bool_)
    expected = np.zeros(16, np.int64)
    for _ in range(60):
        scored = random.integers(0, count, random.integers(1, 80))
        shares = random.gamma(2, 0.7, len(scored)).astype(np.float32)
        rounds = ByCar.of(scored).rounds(np.ones(len(scored), np.bool_))
        advanced = alerts.advance(rounds, shares[rounds.rows], RULE)
        for i, opens in advanced.changes:
            if opens:
                alerts.open(int(rounds.cars[i]), Alert(1, 1, "", 0.0))
            else:
                alerts.close(int(rounds.cars[i]))
        counts.cross(advanced.crossings)
        for row, car in enumerate(scored.tolist()):
            one = slice(car, car + 1)
            for number, threshold in enumerate(LEVELS):
                level[number, one], is_open[number, one], opened, _ = advance(
                    level[number, one],
                    is_open[number, one],
                    shares[row : row + 1],
                    threshold=threshold,
                    rule=RULE,
                )
                expected[number] += int(opened.sum())
    assert counts.crossings == tuple(expected.tolist())
    assert min(counts.crossings[:12]) > 20
    np.testing.assert_array_equal(alerts.crossed.values[:count], is_open.sum(axis=0))


def test_only_cars_that_the_model_judges_count(make: Any, remembering: Any) -> None:
    """Neither samples of a car that is learned nor of one of an unknown kind are driving under watch."""
    layout = replace(remembering.layout, variance=(1, 2), strange_variance=0.75)
    fleet = Fleet(make(1, state=layout))
    fleet.samples(["a"] * 10, remembering.mean)
    fleet.samples(["b"] * 10, remembering.mean + remembering.spread)
    (evidence,) = taken(fleet)
    assert (evidence.judged, evidence.cars, evidence.learning, evidence.strange) == (3, 2, 0, 1)
    (after,) = taken(fleet)
    assert (after.judged, after.cars) == (0, 2)


def test_evidence_has_openings_and_open_alerts(make: Any, remembering: Any) -> None:
    """An alert that opens is a crossing of the threshold and, until it closes, an open one."""
    fleet = Fleet(make(1))
    fleet.samples(["a", "b"] * 8, remembering.mean)
    fleet.samples(["a"] * 9, remembering.mean + 3 * remembering.spread)
    (evidence,) = taken(fleet)
    assert fleet.changes == [("a", fleet.changes[0][1], True)]
    assert (evidence.openings, evidence.open, evidence.share) == (1, 1, None)
    assert Evidence.of(records.decode(records.encode("evidence", evidence.record()))[1]) == evidence
    fleet.samples(["a"] * 20, remembering.mean)
    (evidence,) = taken(fleet)
    assert (evidence.openings, evidence.open) == (0, 0)


def test_records_that_are_read_back_do_not_count(make: Any, remembering: Any) -> None:
    """They counted when they were scored, in this replica or in the one before it."""
    fleet = Fleet(make(1))
    signals = np.tile(remembering.mean, (12, 1))
    signals[8:] += 9 * remembering.spread
    seq = np.arange(1, 13)
    decoded = Decoded(np.arange(12), seq, seq, signals.astype(np.float32))
    fleet.detector.remember(Joined.of([b"a"] * 12), np.zeros(12, np.int32), decoded)
    (evidence,) = taken(fleet)
    assert (evidence.judged, sum(evidence.crossings), evidence.checked) == (0, 0, 0)
    assert evidence.open == 1


def test_an_older_model_has_evidence_of_its_own(make: Any, remembering: Any) -> None:
    """While cars are handed over, every sample and crossing counts for the model that scored it."""
    fleet = Fleet(make(1))
    fleet.samples(["a", "b"] * 8, remembering.mean)
    taken(fleet)
    fleet.detector.add(make(2))
    fleet.samples(["a"] * 9, remembering.mean + 4 * remembering.spread)
    fleet.samples(["b"] * 3, remembering.mean + 4 * remembering.spread)
    old, new = taken(fleet)
    assert (old.model_version, old.judged, old.cars) == (1, 4 + 3, 0)
    assert (new.model_version, new.judged, new.cars, new.learning) == (2, 5, 2, 1)
    assert old.openings + new.openings == 2


def test_impossible_values_are_counted(make: Any, remembering: Any) -> None:
    """A battery of 0 V is broken in the gateway's way; a missing value is not."""
    fleet, zeros, missing = Fleet(make(1)), remembering.mean.copy(), remembering.mean.copy()
    zeros[SIGNALS.index("battery_voltage")] = 0
    missing[:] = np.nan
    cars = [f"car-{number}" for number in range(1_000)]
    signals = np.stack([zeros if number % 4 == 0 else missing for number in range(1_000)])
    fleet.samples(cars, signals)
    (evidence,) = taken(fleet)
    assert 32 <= evidence.checked <= 64
    assert 0 < evidence.broken < evidence.checked
    assert taken(fleet)[0].checked == 0


def test_what_crossed_is_known_again_after_a_restart() -> None:
    """The multiples below the level are open; at the threshold the alert itself says so."""
    cars = CarTable()
    numbers = cars.numbers(Joined.of([b"a", b"b", b"c"]), np.zeros(3, np.int32))
    alerts = Alerts(cars)
    level = np.array([0.9, 0.9, 2.1], np.float32)
    alerts.restore(numbers, level, np.array([False, True, True]))
    assert [LEVELS[k - 1] for k in alerts.crossed.values[:3]] == pytest.approx([0.8706, 1.0, 2.0], abs=0.01)


def evidence(scorer: str = "s") -> Evidence:
    return Evidence(
        scorer=scorer, model_name="m", model_version=1, share=None, since=1, until=2, judged=0,
        crossings=(0,) * 16,
    )  # fmt: skip


def lost() -> float:
    return REGISTRY.get_sample_value("scorer_evidence_lost_total") or 0.0


def test_evidence_that_kafka_does_not_take_holds_up_nothing(producer: Any) -> None:
    """It is counted; the results before and after it go on."""
    results, before = Results(producer, Source("scorer", "log-1")), lost()
    results.write(Scored(anomalies=[(b"a", b"x")]))
    results.write_evidence([evidence()])
    results.write(Scored(anomalies=[(b"b", b"y")]))
    producer.deliver("scores.evidence", KafkaError(KafkaError._UNKNOWN_TOPIC))
    for _ in range(2):
        producer.deliver("anomalies")
    results.settle()
    results.settle()
    assert (len(results), results.evidence_pending, lost()) == (0, 0, before + 1)


def test_evidence_does_not_wait_for_room(producer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the client's queue is full or too much is on its way it is dropped and counted."""
    results, before = Results(producer, Source("scorer", "log-1")), lost()
    monkeypatch.setattr(results_module, "_EVIDENCE_MAX", 500)
    results.write_evidence([evidence()] * 600)
    assert results.evidence_pending == 500
    producer.room = 0
    results.evidence_pending = 0
    results.write_evidence([evidence()])
    assert lost() == before + 101
