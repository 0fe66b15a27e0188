"""Taking over partitions: where to go on, and what was scored before.

The audit log is the truth about what was scored: it is written with the results, while committed offsets
follow a moment later. So a partition goes on after its last audit record, and a replica that was killed
leaves nothing to be scored twice.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

from contract import records
from contract.errors import Malformed
from contract.telemetry import Decoder
from contract.topics import AUDIT, CAR_STATE, TELEMETRY
from plumbing.life import WorldDown
from scorer.batch import Batch
from scorer.detector import Detector
from scorer.snapshots import Snapshots

_log = logging.getLogger("scorer")

_TIMEOUT_S = 10.0
# A replica that was paused and lost its partition may have written after its successor: look at a few.
_LAST_AUDITS = 10


class Assignment:
    """Reads back the state of partitions with a consumer of its own, outside the group."""

    def __init__(
        self,
        reader: Consumer,
        decoder: Decoder,
        detector: Detector,
        snapshots: Snapshots,
        remembered_records: int,
    ) -> None:
        """`reader` must report the end of a partition (`enable.partition.eof`)."""
        self._reader = reader
        self._decoder = decoder
        self._detector = detector
        self._snapshots = snapshots
        self._remembered_records = remembered_records

    def resume(self, committed: Mapping[int, int]) -> dict[int, int]:
        """Partition to the offset to go on from; the detector then knows the cars as of the record before it.

        `committed`: partition to the group's offset, negative where there is none. Raises WorldDown or
        KafkaException where Kafka does not answer.
        """
        audited = self._audited(committed)
        starts, tails = {}, {}
        for partition, offset in committed.items():
            low, high = self._watermarks(TELEMETRY, partition)
            start = max(audited.get(partition, -1), offset)
            if not low <= start <= high:
                if start >= 0:
                    _log.warning(
                        "partition %d: scored up to %d, but the log has %d to %d; going on at its beginning",
                        partition, start, low, high,
                    )  # fmt: skip
                start = low
            starts[partition] = start
            tails[partition] = (max(low, start - self._remembered_records), start)
        self._restore(committed)
        self._remember(tails)
        return starts

    def _audited(self, partitions: Iterable[int]) -> dict[int, int]:
        """Partition to the offset after the last one that the audit log proves scored."""
        ranges = {}
        for partition in partitions:
            low, high = self._watermarks(AUDIT, partition)
            ranges[partition] = (max(low, high - _LAST_AUDITS), high)
        ends: dict[int, int] = {}
        for messages in self._read(AUDIT, ranges):
            for message in messages:
                partition = message.partition()
                try:
                    _, audit = records.decode(message.value() or b"")
                    ends[partition] = max(ends.get(partition, 0), audit["last_offset"] + 1)
                except (Malformed, KeyError) as error:
                    _log.warning("no audit record at %d/%d: %s", partition, message.offset(), error)
        return ends

    def _restore(self, partitions: Iterable[int]) -> None:
        """The cars' states as they were last written."""
        last: dict[bytes, tuple[int, bytes]] = {}
        ranges = {partition: self._watermarks(CAR_STATE, partition) for partition in partitions}
        for messages in self._read(CAR_STATE, ranges):
            for message in messages:  # of several of a car, which compaction has not removed yet, the last
                if (key := message.key()) and (value := message.value()) is not None:
                    last[key] = message.partition(), value
        self._snapshots.restore(last)

    def _remember(self, tails: dict[int, tuple[int, int]]) -> None:
        """What was seen, and what of it is newer than the states."""
        for messages in self._read(TELEMETRY, tails):
            batch = Batch.of(messages, [message.key() for message in messages])
            decoded = self._decoder.decode_joined(batch.values, batch.keys)
            rows = decoded.rows
            self._detector.remember(batch.keys.take(rows.tolist()), batch.partitions[rows], decoded)

    def _watermarks(self, topic: str, partition: int) -> tuple[int, int]:
        marks = self._reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=_TIMEOUT_S)
        if marks is None:
            raise WorldDown(
                f"Kafka did not tell the offsets of {topic}/{partition} within {_TIMEOUT_S:.0f} s"
            )
        return marks

    def _read(self, topic: str, ranges: dict[int, tuple[int, int]]) -> Iterator[list[Any]]:
        """All messages in [first, end) of each partition, in batches."""
        open_ends = {partition: end for partition, (first, end) in ranges.items() if first < end}
        if not open_ends:
            return
        self._reader.assign([TopicPartition(topic, p, ranges[p][0]) for p in open_ends])
        deadline = time.monotonic() + _TIMEOUT_S
        while open_ends:
            if found := [m for m in self._reader.consume(2_000, 0.01) if _take(m, open_ends)]:
                deadline = time.monotonic() + _TIMEOUT_S
                yield found
            elif time.monotonic() > deadline:
                raise WorldDown(f"Kafka gave nothing of {topic} {open_ends} for {_TIMEOUT_S:.0f} s")
        self._reader.unassign()


def _take(message: Any, open_ends: dict[int, int]) -> bool:
    """Whether a message is a record before the end of its partition; what is read to its end is closed."""
    partition, error = message.partition(), message.error()
    if error is not None:
        if error.code() == KafkaError._PARTITION_EOF:  # the last offsets may hold no record
            open_ends.pop(partition, None)
        return False
    end = open_ends.get(partition, -1)
    if message.offset() >= end - 1:
        open_ends.pop(partition, None)
    return bool(message.offset() < end)
