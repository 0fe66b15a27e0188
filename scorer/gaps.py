"""Records that nobody will score: each gap is a line in the log and counted."""

import logging
from collections.abc import Mapping

import numpy as np
from confluent_kafka import Consumer

from contract.topics import TELEMETRY
from plumbing import offsets
from scorer import metrics
from scorer.batch import Batch

_log = logging.getLogger("scorer")

_REASONS = {
    "deleted": "Kafka deleted them before they were read",
    "set_forward": "the offset of the group was set forward",
}


def note(partition: int, first: int, count: int, reason: str) -> None:
    """Count the `count` records from offset `first` on that are skipped; `reason` is a key of _REASONS."""
    metrics.skipped.labels(reason).inc(count)
    _log.error(
        "partition %d: %d records from offset %d on are never scored: %s",
        partition, count, first, _REASONS[reason],
        extra={"partition": partition, "offset": first, "records": count, "reason": reason},
    )  # fmt: skip


def look(consumer: Consumer, batch: Batch, expected: Mapping[int, int]) -> None:
    """Find the records that a batch lacks, by the offset to be read next in each partition.

    A client whose next record was deleted goes on at the oldest one that is left, without a word. Offsets
    that are still held but have no record are markers of transactions. Raises WorldDown.
    """
    came = np.bincount(batch.partitions)
    for partition, (_, last) in batch.spans.items():
        first = expected.get(partition, last)
        if last + 1 - first <= came[partition]:
            continue
        low, _ = offsets.bounds_of(consumer, TELEMETRY, partition)
        before = (batch.partitions == partition) & (batch.offsets < low)
        if (count := low - first - int(np.count_nonzero(before))) > 0:
            note(partition, first, count, "deleted")
