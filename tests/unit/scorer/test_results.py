"""The order in which results reach Kafka, and the offsets that may be committed."""

from typing import Any

import pytest
from confluent_kafka import KafkaError

from contract import records
from contract.errors import Malformed
from plumbing.life import WorldDown
from scorer.batch import Record
from scorer.results import Results
from scorer.scoring import Scored
from scorer.source import Source

AUDIT = {
    "partition": 0, "first_offset": 0, "last_offset": 0, "scored": 1, "duplicates": 0, "late": 0,
    "rejected": 0, "model_version": 1, "scored_at": 0, "scorer": "s",
}  # fmt: skip
ANOMALY = b"a", b"an anomaly of a"


def audit(partition: int, last_offset: int) -> dict[str, Any]:
    return AUDIT | {"partition": partition, "last_offset": last_offset}


def test_a_batch_is_committable_once_its_audit_record_is_delivered(producer: Any) -> None:
    """A batch without anomalies has one audit record a partition, in the partition of the same number."""
    results = Results(producer, Source("scorer", "log-1"))
    results.write(Scored(audits=[audit(3, 9), audit(5, 4)]))
    results.settle()
    assert [options["partition"] for _, _, options in producer.produced] == [3, 5]
    producer.deliver("scores.audit")
    results.settle()
    assert (len(results), results.take_committable()) == (1, {})
    producer.deliver("scores.audit")
    results.settle()
    assert (len(results), results.take_committable()) == (0, {3: 10, 5: 5})
    assert results.take_committable() == {}


def test_an_audit_record_waits_for_the_results_that_it_stands_for(producer: Any) -> None:
    """Audit records are sent after the anomalies and dead letters of their batch and all earlier ones."""
    results = Results(producer, Source("scorer", "log-1"))
    bad = Record(partition=2, offset=7, key=b"a", value=b"junk")
    results.write(
        Scored(anomalies=[ANOMALY], rejected=[(Malformed("bad_frame", "why"), bad)], audits=[audit(2, 7)])
    )
    results.write(Scored(audits=[audit(2, 9)]))
    results.settle()
    producer.deliver("anomalies")
    results.settle()
    assert producer.topics() == ["anomalies", "telemetry.rejected"]
    producer.deliver("telemetry.rejected")
    results.settle()
    assert producer.topics()[2:] == ["scores.audit", "scores.audit"]
    assert [records.decode(value)[1]["last_offset"] for _, value, _ in producer.produced[2:]] == [7, 9]


def test_only_the_longest_delivered_prefix_is_committable(producer: Any) -> None:
    """A later batch that is delivered first waits for the earlier ones."""
    results = Results(producer, Source("scorer", "log-1"))
    for last in (4, 9, 14):
        results.write(Scored(audits=[audit(0, last)]))
    results.settle()
    producer.deliver("scores.audit", number=1)
    results.settle()
    assert (len(results), results.take_committable()) == (3, {})
    producer.deliver("scores.audit", number=0)
    results.settle()
    assert (len(results), results.take_committable()) == (1, {0: 10})


def test_a_car_state_waits_for_the_audit_of_its_samples(producer: Any) -> None:
    """A state read back must not be ahead of the last audit record; commits do not wait for states."""
    results = Results(producer, Source("scorer", "log-1"))
    results.write(Scored(audits=[audit(2, 7)]), [(2, b"a", b"state")])
    results.settle()
    assert producer.topics() == ["scores.audit"]
    producer.deliver("scores.audit")
    results.settle()
    assert producer.produced[1:] == [("car-state", b"state", {"key": b"a", "partition": 2})]
    assert (len(results), results.take_committable()) == (1, {2: 8})
    producer.deliver("car-state")
    results.settle()
    assert len(results) == 0


def test_a_state_is_deleted_once_kafka_has_the_closing_of_its_alert(producer: Any) -> None:
    """A scorer killed in between reads the state back, and closes the alert again."""
    results = Results(producer, Source("scorer", "log-1"))
    closing = dict.fromkeys(("car_id", "alert_id", "component"), "a") | {"action": "closed", "signals": []}
    closing |= dict.fromkeys(("opened_at", "at", "level", "threshold", "confidence"), 0)
    closing |= {"model_version": 1, "scored_at": 1, "reason": "unseen"}
    results.write(Scored(alerts=[closing]), [(2, b"a", None)])
    results.settle()
    assert producer.topics() == ["alerts"]
    producer.deliver("alerts")
    results.settle()
    assert producer.produced[1:] == [("car-state", None, {"key": b"a", "partition": 2})]


@pytest.mark.parametrize("topic", ["anomalies", "scores.audit"])
def test_a_result_that_kafka_does_not_take_ends_the_process(producer: Any, topic: str) -> None:
    """A failed delivery raises WorldDown, and no offset of that batch becomes committable."""
    results = Results(producer, Source("scorer", "log-1"))
    results.write(Scored(anomalies=[ANOMALY], audits=[audit(0, 0)]))
    results.settle()
    if topic == "scores.audit":
        producer.deliver("anomalies")
        results.settle()
    producer.deliver(topic, KafkaError(KafkaError._MSG_TIMED_OUT))
    with pytest.raises(WorldDown, match="did not take a result"):
        results.settle()
    assert results.take_committable() == {}


def test_a_dead_letter_has_reason_and_origin(producer: Any) -> None:
    """It has the record's bytes and key, and headers with reason, detail and place in the log."""
    bad = Record(partition=2, offset=7, key=b"a", value=b"junk")
    Results(producer, Source("scorer", "log-1")).write(
        Scored(rejected=[(Malformed("bad_frame", "d" * 600), bad)])
    )
    ((topic, value, options),) = producer.produced
    assert (topic, value, options["key"]) == ("telemetry.rejected", b"junk", b"a")
    assert options["headers"] == [
        ("reason", "bad_frame"), ("detail", "d" * 500), ("kafka_record", "telemetry/2/7"),
        ("kafka_topic_id", "log-1"),
    ]  # fmt: skip


@pytest.mark.parametrize(("value", "sent_bytes"), [(b"", 0), (b"x" * 1_048_000, 65_536)])
def test_a_dead_letter_is_bounded(producer: Any, value: bytes, sent_bytes: int) -> None:
    """Only the beginning of a large record is kept; an empty value is no error."""
    bad = Record(partition=0, offset=0, key=None, value=value)
    Results(producer, Source("scorer", "log-1")).write(Scored(rejected=[(Malformed("missing_key"), bad)]))
    assert len(producer.produced[0][1]) == sent_bytes


def test_a_full_queue_delays_the_results(producer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the client's queue is full, `write` waits for deliveries instead of failing."""
    results = Results(producer, Source("scorer", "log-1"))
    producer.room = 1
    polled = producer.poll

    def poll(timeout_s: float = 0.0) -> int:
        if timeout_s:
            producer.deliver("anomalies")
            producer.room += 1
        return int(polled(timeout_s))

    monkeypatch.setattr(producer, "poll", poll)
    results.write(Scored(anomalies=[ANOMALY] * 5, audits=[audit(0, 4)]))
    assert producer.topics() == ["anomalies"] * 5
    producer.room = 1
    producer.deliver("anomalies")
    results.settle()
    producer.deliver("scores.audit")
    results.settle()
    assert results.take_committable() == {0: 5}
