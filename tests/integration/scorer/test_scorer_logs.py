"""Whose log it is: topics made again, offsets that are set, a second group, records that are lost."""

import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import OFFSET_END, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic  # type: ignore[attr-defined]

from contract.topics import ALERTS, ANOMALIES, AUDIT, CAR_STATE, EVIDENCE, REJECTED, TELEMETRY, edge_topics

from .edge import Edge, until

pytestmark = pytest.mark.integration

CARS = [f"car-{number}" for number in range(40)]
WRITTEN = (ANOMALIES, ALERTS, AUDIT, CAR_STATE, EVIDENCE, REJECTED)


def send(edge: Any, detector: Any, seq: int) -> None:
    """A sample of every car."""
    edge.send(CARS, [seq] * len(CARS), detector.mean[None].repeat(len(CARS), 0))


def commit(edge: Any, offsets: dict[int, int]) -> None:
    """Set the group's offsets, as Kafka's tools do."""
    member = Consumer({"bootstrap.servers": edge.bootstrap, "group.id": edge.name})
    member.commit(offsets=[TopicPartition(TELEMETRY, *each) for each in offsets.items()], asynchronous=False)
    member.close()


@pytest.fixture
def admin(edge: Any) -> Iterator[AdminClient]:
    client = AdminClient({"bootstrap.servers": edge.bootstrap})
    yield client
    del client


def make(admin: AdminClient, *topics: NewTopic) -> None:
    for done in admin.create_topics(list(topics), operation_timeout=10).values():
        done.result()


@pytest.mark.real_kafka  # topics are deleted and made
def test_a_topic_that_is_made_again_is_scored_whole(
    edge: Any, replica: Any, model_record: Any, detector: Any, admin: AdminClient
) -> None:
    """Under a scorer that runs, and with the sequence numbers of before: every new record is scored."""
    edge.publish(model_record())
    scorer = replica()
    scorer.wait_ready()
    send(edge, detector, 1)
    send(edge, detector, 2)
    until(edge.scored_once, "the first log is scored")
    before = {audit["topic_id"] for audit in edge.decoded(AUDIT)}
    (telemetry,) = [topic for topic in edge_topics() if topic.name == TELEMETRY]
    admin.delete_topics([TELEMETRY], operation_timeout=10)[TELEMETRY].result()
    until(lambda: TELEMETRY not in admin.list_topics(timeout=5).topics, "deleted")
    make(admin, NewTopic(TELEMETRY, telemetry.partitions, 1, config=telemetry.config))
    for seq in (1, 2, 3, 4):
        send(edge, detector, seq)

    def scored() -> int:
        if scorer.process.poll() is not None:  # its client may end; Kubernetes starts it again
            scorer.start()
        audits = [audit for audit in edge.decoded(AUDIT) if audit["topic_id"] not in before]
        return sum(audit["scored"] for audit in audits)

    until(lambda: scored() == 4 * len(CARS), "every record of the second log is scored")
    assert {audit["group"] for audit in edge.decoded(AUDIT)} == {edge.name}


@pytest.mark.real_kafka  # records are deleted
def test_records_that_retention_takes_first_are_counted(
    edge: Any, replica: Any, model_record: Any, detector: Any, admin: AdminClient
) -> None:
    """While a scorer lags, and while it is away: how many were never scored is a metric."""
    edge.publish(model_record())
    scorer = replica()
    scorer.wait_ready()
    send(edge, detector, 1)
    until(edge.scored_once, "scored")
    scorer.signal(signal.SIGSTOP)
    for seq in range(2, 5):
        send(edge, detector, seq)
    ends = [TopicPartition(TELEMETRY, partition, OFFSET_END) for partition in range(12)]
    for done in admin.delete_records(ends, request_timeout=20).values():
        done.result()
    time.sleep(0.2)
    scorer.signal(signal.SIGCONT)
    send(edge, detector, 5)

    def skipped() -> float:
        if scorer.process.poll() is not None:  # it stood still for so long that its partitions may be others'
            scorer.start()
        return float(scorer.metric("scorer_skipped_records_total", reason="deleted"))

    def accounted() -> bool:
        # An answer that was on its way when the scorer stopped brings it some of the first ones.
        deleted = skipped()
        return deleted > 0 and deleted + edge.counts()["scored"] == 5 * len(CARS)

    until(accounted, "every record is scored or counted as deleted")
    assert "are never scored: Kafka deleted them before they were read" in scorer.log


@pytest.mark.measuring
@pytest.mark.real_kafka  # offsets are set from outside
def test_an_offset_that_is_set_back_is_said(
    edge: Any, replica: Any, model_record: Any, detector: Any
) -> None:
    """It scores nothing again, and says so; one that is set forward skips records, which are counted."""
    edge.publish(model_record())
    scorer = replica()
    scorer.wait_ready()
    send(edge, detector, 1)
    until(edge.scored_once, "scored")
    assert scorer.stop()[0] == 0
    commit(edge, dict.fromkeys(range(12), 0))
    scorer.start()
    scorer.wait_shows("scorer_assigned_partitions", 12)
    until(lambda: "the group's offset is 0, but everything before" in scorer.log, "said")
    assert edge.counts()["scored"] == len(CARS)
    assert scorer.stop()[0] == 0
    send(edge, detector, 2)
    commit(edge, {partition: high for partition, (_, high) in edge.ends(TELEMETRY).items()})
    scorer.start()
    scorer.wait_shows("scorer_skipped_records_total", len(CARS), reason="set_forward")
    send(edge, detector, 3)
    scorer.wait_shows("scorer_scored_records_total", len(CARS))


@pytest.mark.real_kafka  # topics are made
def test_a_second_group_scores_beside_the_first_into_topics_of_its_own(
    edge: Any, replica: Any, model_record: Any, detector: Any, admin: AdminClient
) -> None:
    """Into the same topics it is refused, and takes nothing; with a prefix it scores all again."""
    edge.publish(model_record())
    scorer = replica()
    scorer.wait_ready()
    send(edge, detector, 1)
    until(edge.scored_once, "scored")
    second = replica("--group-id", "again")
    assert second.process.wait(30) == 1
    assert f"the group {edge.name} scores this log into the same topics, and again would take" in second.log

    prefix = f"again-{time.time_ns()}."
    apart = replica("--group-id", prefix, "--output-prefix", prefix)
    until(lambda: f"Kafka has no topic {prefix}" in apart.log, "the missing topics are named")
    make(admin, *(NewTopic(prefix + t.name, t.partitions, 1) for t in edge_topics() if t.name in WRITTEN))
    apart.wait_ready()
    until(lambda: apart.metric("scorer_scored_records_total") == len(CARS), "scored again")
    send(edge, detector, 2)
    until(edge.scored_once, "the first group misses nothing")
    assert {audit["group"] for audit in edge.decoded(AUDIT)} == {edge.name}
    admin.delete_topics([prefix + name for name in WRITTEN])


@pytest.mark.measuring
@pytest.mark.real_kafka  # topics get partitions
def test_more_partitions(
    edge: Any, replica: Any, model_record: Any, detector: Any, admin: AdminClient
) -> None:
    """As docs/operations.md says it; where the order is another one, the scorer names what is missing."""
    edge.publish(model_record())
    scorer = replica()
    scorer.wait_ready()
    send(edge, detector, 1)
    until(edge.scored_once, "scored")
    try:
        grow(admin, TELEMETRY)
        until(lambda: scorer.process.poll() is not None, "the scorer ends")
        assert f"telemetry has 18 partitions or more, {AUDIT} only 12: give it as many" in scorer.log
        grow(admin, AUDIT)
        grow(admin, CAR_STATE)
        scorer.start()
        scorer.wait_shows("scorer_assigned_partitions", 18)
        grown = Edge(edge.bootstrap, edge.name, edge._values)  # whose client knows all partitions
        send(grown, detector, 2)
        scorer.wait_shows("scorer_scored_records_total", len(CARS))
        grown.close()
    finally:
        scorer.kill()
        topics = [topic for topic in edge_topics() if topic.name in (TELEMETRY, AUDIT, CAR_STATE)]
        for done in admin.delete_topics([topic.name for topic in topics], operation_timeout=10).values():
            done.result()
        until(lambda: not {t.name for t in topics} & set(admin.list_topics(timeout=5).topics), "deleted")
        make(admin, *(NewTopic(topic.name, topic.partitions, 1, config=topic.config) for topic in topics))


def grow(admin: AdminClient, topic: str) -> None:
    for done in admin.create_partitions([NewPartitions(topic, 18)], operation_timeout=10).values():
        done.result()
