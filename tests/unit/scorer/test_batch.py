"""What stays of records once the client's messages are let go."""

from typing import Any

import pytest
from confluent_kafka import Message

from contract import joined
from scorer.batch import Batch, Record

# Partition, offset, key, value. Of partition 1 an offset is left out, and just then one of partition 0 comes:
# as many records as lie from its first to its last offset, but not the same.
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
def test_pieces_make_the_batch_that_one_is(size: int) -> None:
    """However records are cut into pieces: the same keys, bytes, sizes, partitions, spans and places."""
    whole = batch(RECORDS)
    found = Batch.joined([batch(RECORDS[at : at + size]) for at in range(0, len(RECORDS), size)])
    assert len(found) == len(RECORDS)
    assert (found.keys, found.values) == (whole.keys, whole.values)
    assert found.partitions.tolist() == [record.partition for record in RECORDS]
    assert found.spans == {0: (5, 7), 1: (10, 15)}
    assert [found.record(row) for row in range(len(found))] == RECORDS


@pytest.mark.parametrize("partitions", [{0}, {1}, {0, 1}, {1, 7}, set[int]()])
def test_only_some_partitions(partitions: set[int]) -> None:
    """Of partitions that are another replica's by now nothing stays; the rest is as it would be without."""
    kept = [record for record in RECORDS if record.partition in partitions]
    found = batch(RECORDS).only(partitions)
    assert [found.record(row) for row in range(len(found))] == kept
    if kept:
        assert (found.values, found.spans) == (batch(kept).values, batch(kept).spans)
    assert bool(found) == bool(kept)


def test_no_value_is_an_empty_one() -> None:
    """A record without a value, or with none of its key, is no error here: the decoder refuses it."""
    assert batch(RECORDS, empty=None).values == batch(RECORDS).values


def test_a_flood_of_refused_records_is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds of keys and of values are found once for all of a batch, not for each that is asked for."""
    calls: list[Any] = []
    found = joined.accumulate
    monkeypatch.setattr(joined, "accumulate", lambda *a, **k: calls.append(a) or found(*a, **k))
    many = batch(RECORDS)
    assert [many.record(row).value for row in range(len(many))] == [record.value for record in RECORDS]
    assert len(calls) == 2
