"""A range of the log from what a person gives."""

from typing import Any

import pytest
from confluent_kafka import TopicPartition

from plumbing.settings import SettingsError
from tests.unit.plumbing.test_offsets import _Log
from trainer.history.span import since, span

NOON = "2026-11-30T12:00Z"
NOON_MS = 1_796_040_000_000


class Log(_Log):
    """Two partitions of one topic; the times of their records are a second apart, the first is at noon."""

    def __init__(self) -> None:
        super().__init__(t={0: (100, 200), 1: (50, 60)})

    def offsets_for_times(self, asked: list[TopicPartition], _: float) -> list[TopicPartition]:
        answers = []
        for each in asked:
            low, high = self.topics[each.topic][each.partition]
            at = max(low, low + (each.offset - NOON_MS) // 1000)
            answers.append(TopicPartition(each.topic, each.partition, at if at < high else -1))
        return answers


@pytest.mark.parametrize(
    ("first", "last", "offsets"),
    [
        ("", "", {0: (100, 200), 1: (50, 60)}),
        (NOON, "2026-11-30T12:00:05Z", {0: (100, 105), 1: (50, 55)}),
        ("2026-11-30T12:00:05", "", {0: (105, 200), 1: (55, 60)}),
        ("2026-11-30T13:00:05+01:00", "2026-11-30T12:01Z", {0: (105, 160), 1: (55, 60)}),
        ("0:110,1:50", "1:60,0:120", {0: (110, 120), 1: (50, 60)}),
        ("0:110,1:50", NOON.replace("12:00", "12:00:30"), {0: (110, 130), 1: (50, 60)}),
    ],
)
def test_times_and_offsets_of_each_partition(first: str, last: str, offsets: Any) -> None:
    """A time without a zone is UTC; behind the newest record is the end; both ways can be mixed."""
    log: Any = Log()
    assert span(log, ["t"], first, last) == {"t": offsets}


@pytest.mark.parametrize(
    ("first", "begins"),
    [
        ("", (100, 50)),
        ("2026-11-30T12:00:05Z", (105, 55)),
        ("2026-11-30T13:00Z", (200, 60)),
        ("0:110,1:50", (110, 50)),
    ],
)
def test_what_has_come_since(first: str, begins: tuple[int, int]) -> None:
    """A training waits for records after this time: that there are none yet is no mistake."""
    log: Any = Log()
    held = {"t": {0: (100, 200), 1: (50, 60)}}
    assert since(log, held, first) == {"t": {0: (begins[0], 200), 1: (begins[1], 60)}}


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        ("noon", "", r"--from 'noon' is neither a time \(2026-11-30T10:00Z\) nor offsets"),
        ("0:110", "", r"--from must name each partition of t once; wrong or missing: \[1\]"),
        ("", "0:110,1:55,2:3", r"--to must name each partition of t once; wrong or missing: \[2\]"),
        ("0:99,1:50", "", "--from: t/0 holds the offsets 100 to 200, not 99"),
        ("0:110,1:55", "0:110,1:54", "no records from 0:110,1:55 to 0:110,1:54: the log holds"),
        (NOON, NOON, r"no records from .*Z to .*Z: the log holds .*\(100, 200\)"),
    ],
)
def test_a_range_that_is_not_there_is_refused(first: str, last: str, message: str) -> None:
    """The message names the end, and what the log holds."""
    log: Any = Log()
    with pytest.raises(SettingsError, match=message):
        span(log, ["t"], first, last)


def test_offsets_are_of_one_topic() -> None:
    """With several edges only times mean the same in each."""
    log: Any = _Log(a={0: (0, 9)}, b={0: (0, 9)})
    with pytest.raises(SettingsError, match="--from: offsets are of one topic"):
        span(log, ["a", "b"], "0:3", "")
