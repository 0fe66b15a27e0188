"""Which transactions hang, and how each of them ends."""

import struct

import pytest

from local import transactions as module
from local.transactions import Hanging, commit_was_decided, held_up, parse

ONGOING, PREPARE_COMMIT, PREPARE_ABORT, COMPLETE_COMMIT = 1, 2, 3, 4
HANGING = Hanging("t", 0, producer=7, epoch=3, coordinator_epoch=-1, start=10, written_at=1_000)

# As Kafka 4.3.1 prints them: a row ends with the duration in minutes and a tab.
HEADER = (
    "Topic\tPartition\tProducerId\tProducerEpoch\tCoordinatorEpoch\t"
    "StartOffset\tLastTimestamp\tDuration(min)\t"
)
OUTPUT = f"""\
17:48:54.740 INFO AppInfoParser: Kafka version: 4.3.1
{HEADER}
alerts                   \t1        \t0         \t7            \t4               \t223 \t1796060921102\t0 \t
mm2-offsets.edge.internal\t0        \t1001      \t15           \t-1              \t8127\t1796060921671\t6 \t
"""


def entry(state: int, *, at: int, producer: int = 7, epoch: int = 3) -> tuple[int, bytes]:
    """A record of the coordinator's log, without the partitions that follow."""
    return at, struct.pack(">hqhib", 1, producer, epoch, 10_000, state)


def test_the_rows_of_kafkas_tool_are_found():
    """Among its log and its header."""
    assert parse(OUTPUT) == [
        Hanging("alerts", 1, 0, 7, 4, 223, 1796060921102),
        Hanging("mm2-offsets.edge.internal", 0, 1001, 15, -1, 8127, 1796060921671),
    ]
    assert parse(HEADER) == []


def test_a_partition_is_held_up_until_its_readers_passed_the_end_that_it_had():
    """What was written since, and partitions that are new or gone, do not count."""
    ends = {("a", 0): 10, ("a", 1): 10, ("b", 0): 5, ("gone", 0): 3}
    assert held_up(ends, {("a", 0): 9, ("a", 1): 10, ("b", 0): 7, ("new", 0): 0}) == [("a", 0)]


@pytest.mark.parametrize(
    ("decisions", "commit"),
    [
        ([], False),
        ([entry(ONGOING, at=900)], False),
        ([entry(ONGOING, at=900), entry(PREPARE_COMMIT, at=1_001)], True),
        ([entry(ONGOING, at=900), entry(PREPARE_COMMIT, at=1_001, epoch=4)], True),
        ([entry(ONGOING, at=900), entry(PREPARE_ABORT, at=9_000, epoch=4)], False),
        ([entry(ONGOING, at=900), entry(PREPARE_COMMIT, at=1_001, producer=8)], False),
    ],
    ids=["nothing", "undecided", "commit", "commit, epoch grows", "timed out", "of another producer"],
)
def test_it_ends_as_its_coordinator_had_decided(decisions: list[tuple[int, bytes]], commit: bool):
    """Without a decision it is aborted: nobody was told that it is committed."""
    assert commit_was_decided(decisions, HANGING) is commit


def test_decisions_on_earlier_and_later_transactions_of_its_producer_do_not_count():
    """Where the epoch grows each has its own; where it stays it is the first after the last record."""
    grows = [entry(state, at=500, epoch=e) for e in (2, 3, 4) for state in (ONGOING, PREPARE_COMMIT)]
    grows[3] = entry(PREPARE_ABORT, at=1_200, epoch=4)
    assert not commit_was_decided(grows, HANGING)
    stays = [
        entry(s, at=at) for at in (500, 1_100, 1_200) for s in (ONGOING, PREPARE_COMMIT, COMPLETE_COMMIT)
    ]
    stays[4] = entry(PREPARE_ABORT, at=1_101)
    assert not commit_was_decided(stays, HANGING)


@pytest.mark.parametrize(("stable", "ended"), [(10, True), (12, False)], ids=["hangs", "has ended meanwhile"])
def test_only_what_still_holds_up_its_partition_is_ended(
    monkeypatch: pytest.MonkeyPatch, stable: int, ended: bool
):
    """A transaction that ends while Kafka's tool looks is found too: its producer may have begun the next."""
    markers = []
    answers = iter([20, 10, stable, 20])  # the end, before the search, after it, at last
    monkeypatch.setattr(module, "_WAITS_S", (0.0,))
    monkeypatch.setattr(module, "_offsets", lambda *_: {("t", 0): next(answers)})
    monkeypatch.setattr(module, "_find", lambda _: [HANGING])
    monkeypatch.setattr(module, "_decisions", lambda *_: [])
    monkeypatch.setattr(module, "write_marker", lambda *_, **how: markers.append(how))
    assert module.end_hanging("127.0.0.1:1") == 0
    assert markers == ([{"commit": False}] if ended else [])
