"""Whatever is killed, stopped or added: every offset is scored exactly once."""

import time
from collections import Counter, defaultdict
from typing import Any

import pytest

from contract.topics import AUDIT

from .edge import until

pytestmark = pytest.mark.integration


def test_killed_under_load_nothing_is_lost_or_doubled(
    edge: Any, replica: Any, model_record: Any, load: Any
) -> None:
    """SIGKILL of one of two and a restart: every offset is scored exactly once, and no anomaly is missing."""
    edge.publish(model_record())
    scorer, other = replica(), replica()
    with load(cars=200, per_second=2_000) as sent:
        for one in (scorer, other):
            one.wait_shows("scorer_assigned_partitions", 6)
        scorer.wait_scored(2_000)
        scorer.kill()
        scorer.start()
        scorer.wait_ready()
        scorer.wait_scored(2_000)
    until(edge.scored_once, "every record scored")
    assert edge.counts() == {"scored": sent.sent, "duplicates": 0, "late": 0, "rejected": 0}
    assert set(edge.anomalies()) == sent.anomalies


def test_the_only_replica_killed(edge: Any, replica: Any, model_record: Any, load: Any) -> None:
    """All killed: the next start finds in the audit log where to go on, though offsets were not committed."""
    edge.publish(model_record())
    scorer = replica("--commit-interval-ms", "3600000")
    scorer.wait_ready()
    with load(cars=200, per_second=2_000):
        scorer.wait_scored(4_000)
        scorer.kill()
    assert max(edge.committed().values(), default=0) <= 0
    replica()
    until(edge.scored_once, "every record scored")


@pytest.mark.real_kafka  # how the brokers of a real group hand partitions over
def test_replicas_come_and_go_under_load(edge: Any, replica: Any, model_record: Any, load: Any) -> None:
    """1 to 3 to 1 replicas: every offset exactly once, and no partition waits long."""
    edge.publish(model_record())
    first = replica()
    first.wait_ready()
    with load(cars=200, per_second=2_000) as sent:
        first.wait_scored(2_000)
        others = [replica(), replica()]
        for one in others:
            one.wait_shows("scorer_assigned_partitions", 4)
        others[1].wait_scored(1_000)
        for one in others:
            assert one.stop()[0] == 0
        first.wait_shows("scorer_assigned_partitions", 12)
        first.wait_scored(2_000)
    until(edge.scored_once, "every record scored")
    assert edge.counts() == {"scored": sent.sent, "duplicates": 0, "late": 0, "rejected": 0}
    assert edge.anomalies() == Counter(sent.anomalies)
    audits = edge.decoded(AUDIT)
    assert len({audit["scorer"] for audit in audits}) == 3
    pause = longest_pause_s(audits)
    print(f"longest pause of a partition: {pause:.2f} s")  # shown with -rP
    assert pause < 5


def test_a_silent_kafka_is_waited_out(
    edge: Any, kafka: Any, replica: Any, model_record: Any, load: Any
) -> None:
    """Kafka stands still for 5 s: the same process goes on, and every offset is scored exactly once."""
    edge.publish(model_record())
    scorer = replica()
    scorer.wait_ready()
    with load(cars=100, per_second=1_000) as sent:
        scorer.wait_scored(1_000)
        kafka.pause()
        try:
            time.sleep(5)
        finally:
            kafka.resume()
        scorer.wait_scored(5_000)
    until(edge.scored_once, "every record scored")
    assert edge.anomalies() == Counter(sent.anomalies)


def longest_pause_s(audits: list[dict[str, Any]]) -> float:
    """Between two audit records of a partition, while all partitions had records all the time."""
    times = defaultdict(list)
    for audit in audits:
        times[audit["partition"]].append(audit["scored_at"] / 1_000)
    return max(
        later - earlier
        for stamps in times.values()
        for earlier, later in zip(sorted(stamps), sorted(stamps)[1:], strict=False)
    )
