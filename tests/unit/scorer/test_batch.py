"""Batches without the client's message objects."""

from typing import Any

import pytest
from confluent_kafka import Message

from contract import joined
from scorer.batch import Batch, Record

# Partition, offset, key, value. Partition 1 lacks an offset just where a record of partition 0 comes between
# its records, so the number of rows equals the number of offsets from first to last.
RECORDS = [
    Record(0, 5, b"a", b"five"),
    Record(0, 6, b"b", b""),
    Record(1, 10, b"cc", b"ten"),
    Record(0, 7, None, b"seven"),
    Record(1, 12, b"cc", b"twelve"),
    Record(1, 14, b"d", b"fourteen"),
    Record(1, 15, b"d", b"fifteen"),
]


def batch(records: list[Record], empty: bytes | None = b"") -> Batch:
    messages = [
        Message(topic="telemetry", partition=r.partition, offset=r.offset, key=r.key, value=r.value or empty)
        for r in records
    ]
    return Batch.of(messages, [record.key for record in records])


@pytest.mark.parametrize("size", range(1, len(RECORDS) + 1))
def test_joined_pieces_equal_the_whole_batch(size: int) -> None:
    """For any size of the pieces: the same keys, values, partitions, spans and records."""
    whole = batch(RECORDS)
    joined_batch = Batch.joined(
        [batch(RECORDS[start : start + size]) for start in range(0, len(RECORDS), size)]
    )
    assert len(joined_batch) == len(RECORDS)
    assert (joined_batch.keys, joined_batch.values) == (whole.keys, whole.values)
    assert joined_batch.partitions.tolist() == [record.partition for record in RECORDS]
    assert joined_batch.spans == {0: (5, 7), 1: (10, 15)}
    assert [joined_batch.record(row) for row in range(len(joined_batch))] == RECORDS


@pytest.mark.parametrize("partitions", [{0}, {1}, {0, 1}, {1, 7}, set[int]()])
def test_only_some_partitions(partitions: set[int]) -> None:
    """Records of other partitions are removed; the rest equals a batch without them."""
    kept = [record for record in RECORDS if record.partition in partitions]
    some = batch(RECORDS).only(partitions)
    assert [some.record(row) for row in range(len(some))] == kept
    if kept:
        assert (some.values, some.spans) == (batch(kept).values, batch(kept).spans)
    assert bool(some) == bool(kept)


def test_a_missing_value_is_an_empty_one() -> None:
    """A record without a value is no error here: the decoder refuses it."""
    assert batch(RECORDS, empty=None).values == batch(RECORDS).values


def test_a_flood_of_refused_records_is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds of keys and values are computed once a batch, not once a record."""
    calls: list[Any] = []
    accumulate = joined.accumulate
    monkeypatch.setattr(joined, "accumulate", lambda *a, **k: calls.append(a) or accumulate(*a, **k))
    many = batch(RECORDS)
    assert [many.record(row).value for row in range(len(many))] == [record.value for record in RECORDS]
    assert len(calls) == 2
