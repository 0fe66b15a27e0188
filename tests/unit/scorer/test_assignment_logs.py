"""Whose log: a takeover where the topic was made again, offsets were set, or another group is there."""

from typing import Any

import pytest
from prometheus_client import REGISTRY

from contract import records
from plumbing.life import WorldDown
from scorer.assignment import Assignment
from scorer.detector import AnomalyDetector

from .takeover import Reader, audit, committed


def skipped(reason: str) -> float:
    return REGISTRY.get_sample_value("scorer_skipped_records_total", {"reason": reason}) or 0


def test_what_was_scored_of_a_topic_that_was_made_again_does_not_count(
    assignment: Assignment, fill: Any, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither audit records nor commits of before: offsets begin at 0 again, and none is left out."""
    audit(reader, 5, topic_id="log-0")
    fill(10)
    assert assignment.resume(committed({0: 4}, "log-0")) == {0: 0}
    assert "telemetry was made again (its id is log-1, was log-0)" in caplog.text
    audit(reader, 2)
    assert assignment.resume(committed({0: -1001})) == {0: 3}


def test_audit_records_and_commits_of_scorers_of_before_count(
    assignment: Assignment, fill: Any, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    """They name no log. A commit behind such an audit record is an ordinary one."""
    fill(10)
    audit(reader, 5, group="", topic_id="")
    assert assignment.resume(committed({0: 4}, "")) == {0: 6}
    assert caplog.text == ""


@pytest.mark.parametrize("offset", [0, -1001])
def test_an_offset_that_was_set_back_is_not_followed_but_said(
    assignment: Assignment,
    fill: Any,
    reader: Reader,
    caplog: pytest.LogCaptureFixture,
    offset: int,
) -> None:
    """Kafka's own tools commit no topic id. What was scored is not scored again in the same topics."""
    fill(10)
    audit(reader, 5)
    assert assignment.resume(committed({0: offset}, "")) == {0: 6}
    assert f"offset is {'not set' if offset else 0}, but everything before 6 was scored" in caplog.text


def test_an_offset_that_was_set_forward_is_followed_and_counted(
    assignment: Assignment, fill: Any, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody gave records up: how many is a metric and a line."""
    fill(10)
    audit(reader, 5)
    before = skipped("set_forward")
    assert assignment.resume(committed({0: 9}, "")) == {0: 9}
    assert skipped("set_forward") - before == 3
    assert "3 records from offset 6 on are never scored: the offset of the group was set" in caplog.text


def test_records_that_were_deleted_before_they_were_scored_are_counted(
    assignment: Assignment, fill: Any, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    """Retention has overtaken the scorers."""
    fill(10)
    audit(reader, 1)
    reader.low["telemetry", 0] = 7
    before = skipped("deleted")
    assert assignment.resume(committed({0: 2})) == {0: 7}
    assert skipped("deleted") - before == 5
    assert "5 records from offset 2 on are never scored: Kafka deleted them" in caplog.text


def test_a_second_group_is_refused_while_the_first_is_at_work(
    assignment: Assignment, fill: Any, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    """It would take the other's records. Where that one has ended, it goes on under another name."""
    fill(10)
    audit(reader, 5, group="canary")
    reader.groups_at_work.add("canary")
    with pytest.raises(WorldDown, match=r"the group canary scores this log .* --output-prefix"):
        assignment.resume(committed({0: -1001}))
    reader.groups_at_work.clear()
    assert assignment.resume(committed({0: -1001})) == {0: 6}
    assert "going on where the group canary has ended" in caplog.text


def test_topics_with_too_few_partitions_are_named(assignment: Assignment, reader: Reader) -> None:
    """Telemetry got more partitions than the topics that belong to it."""
    reader.partitions["car-state"] = 3
    with pytest.raises(WorldDown, match=r"has 6 partitions or more, car-state only 3: .*more-partitions"):
        assignment.resume(committed({5: -1001}))


def test_a_state_of_another_log_is_kept_but_not_its_seq(
    assignment: Assignment, reader: Reader, successor: AnomalyDetector
) -> None:
    """In a log that was made again the cars may count anew: what comes moves the state on."""
    fields = {
        "model_name": "failure-detector",
        "sampled_at": 1,
        "alert_level": 0.0,
        "alert": None,
        "states": [],
    }
    for car, topic_id in (("a", "log-0"), ("b", "log-1"), ("c", "")):
        state = fields | {"car_id": car, "seq": 7, "group": "scorer", "topic_id": topic_id}
        reader.append("car-state", 0, records.encode("car_state", state), car.encode())
    assignment.resume(committed({0: -1001}))
    assert dict(zip(successor.cars.ids, successor.seq.values.tolist(), strict=False)) == {
        b"a": -1,
        b"b": 7,
        b"c": 7,
    }
