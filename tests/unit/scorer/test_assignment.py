"""The offset where a partition goes on, and what the scorer knows of its cars then."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from contract import records
from contract.joined import Joined
from contract.telemetry import SIGNALS, Decoded
from plumbing.life import WorldDown
from scorer import assignment as assignment_module
from scorer.assignment import Assignment
from scorer.detector import AnomalyDetector

from .takeover import Reader, audit, committed


def seen(detector: AnomalyDetector, car: str, seqs: range) -> list[int]:
    """The seqs that the detector takes for duplicates."""
    keys, partitions = [car.encode()] * len(seqs), np.zeros(len(seqs), np.int32)
    signals = np.zeros((len(seqs), len(SIGNALS)), np.float32)
    decoded = Decoded(np.arange(len(seqs)), np.array(seqs), np.zeros(len(seqs), np.int64), signals)
    _, sifted = detector.sift(Joined.of(keys), partitions, decoded)
    return [seq for seq, new in zip(seqs, sifted.fresh, strict=True) if not new]


STATE = {
    "car_id": "a", "model_name": "failure-detector", "seq": 7, "sampled_at": 1, "alert_level": 0.0,
    "alert": None, "states": [],
}  # fmt: skip


def test_an_untouched_partition_begins_at_its_beginning(
    assignment: Assignment, fill: Any, successor: AnomalyDetector
) -> None:
    """With nothing committed and nothing audited it starts at the earliest offset, without cars."""
    fill(3)
    assert assignment.resume(committed({0: -1001, 5: -1001})) == {0: 0, 5: 0}
    assert len(successor.cars) == 0


def test_an_audit_log_ahead_of_the_commits_wins(assignment: Assignment, fill: Any, reader: Reader) -> None:
    """A killed replica had audited more than it had committed: nothing is scored twice."""
    fill(10)
    audit(reader, 3)
    audit(reader, 7)
    assert assignment.resume(committed({0: 4})) == {0: 8}


def test_commits_ahead_of_the_audit_log_win(assignment: Assignment, fill: Any, reader: Reader) -> None:
    """The committed offset counts where the audit log has lost records."""
    fill(10)
    audit(reader, 3)
    assert assignment.resume(committed({0: 6})) == {0: 6}


def test_an_older_audit_record_written_later_changes_nothing(
    assignment: Assignment, fill: Any, reader: Reader
) -> None:
    """A paused replica may write it after its successor: the highest offset counts."""
    fill(10)
    audit(reader, 7)
    audit(reader, 2)
    assert assignment.resume(committed({0: 0})) == {0: 8}


def test_what_was_scored_is_remembered(
    assignment: Assignment, fill: Any, reader: Reader, successor: AnomalyDetector
) -> None:
    """As many records as set, before the offset to go on from, count as seen; none after it."""
    fill(10)
    audit(reader, 7)
    assignment.resume(committed({0: 0}))
    assert seen(successor, "a", range(4, 11)) == [4, 5, 6, 7, 8]


def test_each_partition_goes_on_by_itself(
    assignment: Assignment, fill: Any, reader: Reader, successor: AnomalyDetector
) -> None:
    """Audit records and remembered records belong to one partition."""
    fill(4, partition=0, car="a")
    fill(4, partition=3, car="b")
    audit(reader, 1, partition=3)
    assert assignment.resume(committed({0: 1, 3: -1001, 7: -1001})) == {0: 1, 3: 2, 7: 0}
    assert seen(successor, "a", range(1, 3)) == [1]
    assert seen(successor, "b", range(1, 4)) == [1, 2]


def test_an_offset_that_the_log_does_not_have_is_replaced_by_its_beginning(
    assignment: Assignment, fill: Any, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    """After telemetry was deleted or the topic made anew the known offsets are useless; that is logged."""
    fill(3)
    audit(reader, 99)
    with caplog.at_level(logging.WARNING):
        assert assignment.resume(committed({0: 80})) == {0: 0}
    assert "the log has 0 to 3; starting at 0" in caplog.text
    fill(10)
    reader.low["telemetry", 0] = 8
    reader.topics["scores.audit", 0].clear()
    assert assignment.resume(committed({0: 4})) == {0: 8}


def test_last_offsets_without_a_record_do_not_block(
    assignment: Assignment, fill: Any, reader: Reader, successor: AnomalyDetector
) -> None:
    """If the last offsets hold no record (transaction markers), reading ends at the end of the partition."""
    fill(3)
    reader.hole("telemetry", 0)
    audit(reader, 3)
    reader.hole("scores.audit", 0)
    assert assignment.resume(committed({0: -1001})) == {0: 4}
    assert seen(successor, "a", range(1, 5)) == [1, 2, 3]


def test_malformed_records_are_skipped(
    assignment: Assignment, fill: Any, reader: Reader, successor: AnomalyDetector
) -> None:
    """Malformed records among the telemetry or the audit records do not stop the takeover."""
    fill(2)
    reader.append("telemetry", 0, b"junk", b"a")
    audit(reader, 2)
    reader.append("scores.audit", 0, b"junk")
    reader.append(
        "scores.audit", 0, records.encode("model", {"name": "", "version": 1, "manifest": "", "tflite": b""})
    )
    assert assignment.resume(committed({0: -1001})) == {0: 3}
    assert seen(successor, "a", range(1, 4)) == [1, 2]


def test_a_silent_kafka_ends_the_takeover(
    assignment: Assignment, fill: Any, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WorldDown where records that the log has do not arrive."""
    monkeypatch.setattr(assignment_module, "_SILENCE_S_MAX", 0.05)
    fill(2)
    audit(reader, 1)
    reader.silent = True
    with pytest.raises(WorldDown, match=r"nothing more of scores\.audit/0"):
        assignment.resume(committed({0: -1001}))


def test_a_state_that_was_deleted_is_not_read_back(
    assignment: Assignment, fill: Any, reader: Reader, successor: AnomalyDetector
) -> None:
    """A deletion counts also where compaction has left the record before it."""
    for key, value in ((b"a", True), (b"b", True), (b"a", False)):
        reader.append("car-state", 0, records.encode("car_state", STATE) if value else None, key)
    assignment.resume(committed({0: -1001}))
    assert successor.cars.ids == [b"b"]


def test_the_states_of_more_cars_than_fit_are_those_written_last(
    assignment: Assignment, reader: Reader, successor: AnomalyDetector
) -> None:
    """A million invented cars in car-state do not fill the memory; a car that still drives is kept."""
    numbers = [*range(100), 7]
    for number in numbers:
        reader.append("car-state", 0, records.encode("car_state", STATE), b"car-%d" % number)
    replace(assignment, states_max=20).resume(committed({0: -1001}))
    kept = set(successor.cars.ids)
    assert {b"car-7", b"car-99", b"car-98"} <= kept
    assert 15 <= len(kept) <= 20


ALERT = {"seq": 3, "opened_at": 1, "component": "", "confidence": 0.0}


def test_of_states_that_are_too_many_those_with_an_open_alert_stay(
    assignment: Assignment, reader: Reader, successor: AnomalyDetector
) -> None:
    """Nobody else would close it. The room is bounded also where every state has one."""
    for number in range(100):
        alert = {"alert": ALERT} if number in (0, 5) else {}
        key = b"car-%d" % number
        reader.append("car-state", 0, records.encode("car_state", STATE | alert), key)
    reader.append("car-state", 0, b"no state", b"car-100")
    replace(assignment, states_max=20).resume(committed({0: -1001}))
    assert {b"car-0", b"car-5"} <= set(successor.cars.ids)
    assert 15 <= len(successor.cars) <= 20
    assert len(successor.alerts) == 2


def test_states_that_all_have_an_open_alert_are_bounded_too(
    assignment: Assignment, reader: Reader, successor: AnomalyDetector
) -> None:
    """Some of each fifth go."""
    for number in range(100):
        state = STATE | {"alert": ALERT}
        reader.append("car-state", 0, records.encode("car_state", state), b"car-%d" % number)
    replace(assignment, states_max=20).resume(committed({0: -1001}))
    assert 15 <= len(successor.cars) <= 20
