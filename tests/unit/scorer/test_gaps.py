"""Records that the client skipped in silence."""

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import Message
from prometheus_client import REGISTRY

from scorer import gaps
from scorer.batch import Batch


@pytest.fixture
def look() -> Any:
    """A function that looks at a batch of offsets of partition 3; `low` is the oldest offset that is left."""

    def found(offsets: list[int], expected: int, low: int) -> tuple[float, int]:
        asked: list[Any] = []
        consumer: Any = SimpleNamespace(
            get_watermark_offsets=lambda partition, timeout: asked.append(partition) or (low, 99)
        )
        messages = [
            Message(topic="telemetry", partition=3, offset=each, key=b"a", value=b"v") for each in offsets
        ]
        before = _deleted()
        gaps.look(consumer, Batch.of(messages, [b"a"] * len(messages)), {3: expected, 4: 0})
        return _deleted() - before, len(asked)

    return found


def _deleted() -> float:
    return REGISTRY.get_sample_value("scorer_skipped_records_total", {"reason": "deleted"}) or 0


def test_a_batch_without_gaps_asks_nothing(look: Any) -> None:
    """The usual path: no question to Kafka."""
    assert look([5, 6, 7], 5, 0) == (0, 0)


def test_records_deleted_before_a_batch_are_counted(look: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The client's position was deleted, and it went on at the oldest record."""
    assert look([9, 10], 5, 9) == (4, 1)
    assert "partition 3: 4 records from offset 5 on are never scored" in caplog.text


def test_records_deleted_within_a_batch_are_counted(look: Any) -> None:
    """What came before the gap was scored, although it is deleted by now, too."""
    assert look([5, 6, 9, 10], 5, 9) == (2, 1)


def test_markers_of_transactions_are_no_gap(look: Any) -> None:
    """Their offsets are still held."""
    assert look([5, 7, 9], 5, 0) == (0, 1)
