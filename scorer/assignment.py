"""Taking over partitions: the offsets to go on from, and what was scored before them.

The audit log is the truth about what was scored: it is written with the results, while committed offsets
follow a moment later. So a partition goes on after its last audit record, and nothing that a killed replica
has scored is scored twice.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from confluent_kafka import Consumer, Message

from contract import records
from contract.bounds import latest_ms
from contract.errors import Malformed
from contract.telemetry import Decoder
from contract.topics import AUDIT, CAR_STATE, TELEMETRY
from plumbing import offsets
from scorer.batch import Batch
from scorer.detector import AnomalyDetector
from scorer.snapshots import Snapshots

_log = logging.getLogger("scorer")

_SILENCE_S_MAX = 10.0
# The last audit record may be an old one: a paused replica that lost its partition can write after its
# successor. The highest offset of the last few is right.
_LAST_AUDITS = 10


@dataclass(frozen=True)
class Assignment:
    """Reads back the state of partitions."""

    reader: Consumer  # outside the group; must report the end of a partition (`enable.partition.eof`)
    decoder: Decoder
    detector: AnomalyDetector
    snapshots: Snapshots
    remembered_records: int  # read back for each partition

    def resume(self, committed: Mapping[int, int]) -> dict[int, int]:
        """Partition to the offset to go on from; the detector then knows the cars as of the record before it.

        `committed`: partition to the group's offset, negative where there is none. Raises WorldDown or
        KafkaException where Kafka does not answer.
        """
        audited = self._audited(committed)
        starts, tails = {}, {}
        for partition, offset in committed.items():
            low, high = offsets.bounds_of(self.reader, TELEMETRY, partition)
            start = max(audited.get(partition, -1), offset)
            if not low <= start <= high:
                if start >= 0:
                    _log.warning(
                        "partition %d: scored up to offset %d, but the log has %d to %d; starting at %d",
                        partition, start, low, high, low,
                    )  # fmt: skip
                start = low
            starts[partition] = start
            tails[partition] = (max(low, start - self.remembered_records), start)
        self._restore(committed)
        self._remember(tails)
        return starts

    def _audited(self, partitions: Iterable[int]) -> dict[int, int]:
        """Partition to the offset after the last one that the audit log proves scored."""
        ranges = {}
        for partition in partitions:
            low, high = offsets.bounds_of(self.reader, AUDIT, partition)
            ranges[partition] = (max(low, high - _LAST_AUDITS), high)
        ends: dict[int, int] = {}
        for message in chain.from_iterable(self._read(AUDIT, ranges)):
            partition = message.partition() or 0
            try:
                _, audit = records.decode(message.value() or b"")
                ends[partition] = max(ends.get(partition, 0), audit["last_offset"] + 1)
            except (Malformed, KeyError) as error:
                _log.warning("not an audit record at %d/%d: %s", partition, message.offset(), error)
        return ends

    def _restore(self, partitions: Iterable[int]) -> None:
        """Read back the last state of every car."""
        last: dict[bytes, tuple[int, bytes]] = {}
        ranges = {number: offsets.bounds_of(self.reader, CAR_STATE, number) for number in partitions}
        for message in chain.from_iterable(self._read(CAR_STATE, ranges)):
            # Compaction may have left several of a car.
            if key := message.key():
                last.pop(key, None)
                if (value := message.value()) is not None:
                    last[key] = message.partition() or 0, value
        self.snapshots.restore(last)

    def _remember(self, tails: dict[int, tuple[int, int]]) -> None:
        """Read back the last scored records: their seq, and what of them is newer than the states."""
        until_ms = latest_ms(time.time_ns() // 1_000_000)
        for messages in filter(None, self._read(TELEMETRY, tails)):
            batch = Batch.of(messages, [message.key() for message in messages])
            decoded = self.decoder.decode_joined(batch.values, batch.keys, until_ms)
            rows = decoded.rows
            self.detector.remember(batch.keys.take(rows.tolist()), batch.partitions[rows], decoded)

    def _read(self, topic: str, ranges: dict[int, tuple[int, int]]) -> Iterator[list[Message]]:
        return offsets.read(self.reader, {topic: ranges}, silence_s_max=_SILENCE_S_MAX)
