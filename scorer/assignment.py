"""Taking over partitions: the offsets to go on from, and what was scored before them.

The audit log is the truth about what was scored: it is written with the results, while committed offsets
follow a moment later. So a partition goes on after its last audit record, and nothing that a killed replica
has scored is scored twice. An audit record counts only for the log that its offsets are of: the topic's id
tells whether telemetry was made again since (docs/decisions/whose-log.md).
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

from confluent_kafka import Consumer, Message, TopicPartition

from contract import records
from contract.bounds import latest_ms
from contract.errors import Malformed
from contract.telemetry import Decoder
from contract.topics import AUDIT, CAR_STATE, TELEMETRY
from plumbing import offsets
from plumbing.life import WorldDown
from scorer import gaps, metrics
from scorer.batch import Batch
from scorer.detector import AnomalyDetector
from scorer.snapshots import Snapshots
from scorer.source import Source

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
    source: Source  # its topic id is renewed at each takeover
    topic_id: Callable[[], str]  # of telemetry now
    has_members: Callable[[str], bool]  # whether a consumer group is at work
    prefix: str = ""  # of the topics that this group writes
    states_max: int = 250_000  # of the states that are read back, those written last

    def resume(self, committed: Iterable[TopicPartition]) -> dict[int, int]:
        """Partition to the offset to go on from; the detector then knows the cars as of the record before it.

        `committed`: the group's offsets, negative where there are none; the metadata of each is the id of
        the topic (`Pipeline` commits it), none where it was set from outside. Raises WorldDown where Kafka
        does not answer, lacks partitions, or another group is at work on the same topics; KafkaException.
        """
        committed = list(committed)
        self.source.topic_id = self.topic_id()
        self._check_partitions(each.partition for each in committed)
        audited, named = self._audited(each.partition for each in committed)
        starts, tails = {}, {}
        for each in committed:
            partition = each.partition
            offset = each.offset if self.source.is_mine(each.metadata or "") else -1
            if partition in named and not each.metadata:
                _compare(partition, offset, audited[partition])
            low, high = offsets.bounds_of(self.reader, TELEMETRY, partition)
            starts[partition] = _within(partition, max(audited.get(partition, -1), offset), low, high)
            tails[partition] = (max(low, starts[partition] - self.remembered_records), starts[partition])
        self._restore(starts)
        self._remember(tails)
        return starts

    def _check_partitions(self, assigned: Iterable[int]) -> None:
        """Raise WorldDown where a topic lacks the partition that belongs to one of telemetry."""
        needed = max(assigned, default=-1) + 1
        for topic in (self.prefix + AUDIT, self.prefix + CAR_STATE):
            if (count := offsets.partitions_of(self.reader, topic)) < needed:
                raise WorldDown(
                    f"{TELEMETRY} has {needed} partitions or more, {topic} only {count}: give it as many "
                    "(docs/operations.md#more-partitions)"
                )

    def _audited(self, partitions: Iterable[int]) -> tuple[dict[int, int], set[int]]:
        """Partition to the offset after the last one that the audit log proves scored.

        And the partitions of which that record names its log: who wrote it commits this name, too.
        """
        topic, ranges = self.prefix + AUDIT, {}
        for partition in partitions:
            low, high = offsets.bounds_of(self.reader, topic, partition)
            ranges[partition] = (max(low, high - _LAST_AUDITS), high)
        ends, named = dict[int, int](), set[int]()
        others, of_before = set[str](), set[str]()
        for message in chain.from_iterable(self._read(topic, ranges)):
            partition = message.partition() or 0
            try:
                _, audit = records.decode(message.value() or b"")
                end, topic_id = audit["last_offset"] + 1, audit.get("topic_id", "")
            except (Malformed, KeyError) as error:
                _log.warning("not an audit record at %d/%d: %s", partition, message.offset(), error)
                continue
            if not self.source.is_mine(topic_id):
                of_before.add(topic_id)
                continue
            others.add(audit.get("group", "") or self.source.group)
            if end > ends.get(partition, -1):
                ends[partition] = end
                (named.add if topic_id else named.discard)(partition)
        self._refuse_company(others - {self.source.group})
        if of_before:
            _log.warning(
                "%s was made again (its id is %s, was %s): what was scored before does not count",
                TELEMETRY, self.source.topic_id, ", ".join(sorted(of_before)),
            )  # fmt: skip
        return ends, named

    def _refuse_company(self, groups: set[str]) -> None:
        """Raise WorldDown where one of these other groups, which wrote audit records, is at work."""
        for group in sorted(groups):
            if self.has_members(group):
                raise WorldDown(
                    f"the group {group} scores this log into the same topics, and {self.source.group} would "
                    "take records from it: stop its scorers, or give this group topics of its own with "
                    "--output-prefix (docs/operations.md#score-again)"
                )
            _log.warning("going on where the group %s has ended", group)

    def _restore(self, partitions: Iterable[int]) -> None:
        """Read back the last state of every car."""
        last: dict[bytes, tuple[int, bytes]] = {}
        topic = self.prefix + CAR_STATE
        ranges = {number: offsets.bounds_of(self.reader, topic, number) for number in partitions}
        for message in chain.from_iterable(self._read(topic, ranges)):
            # Compaction may have left several of a car.
            if key := message.key():
                last.pop(key, None)
                if (value := message.value()) is not None:
                    last[key] = message.partition() or 0, value
                    if len(last) > self.states_max:
                        _drop_oldest(last)
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


def _drop_oldest(states: dict[bytes, tuple[int, bytes]]) -> None:
    """Drop a fifth of the states: those that were written first.

    Those with an open alert stay, as far as they are less than half of these: nobody else would close it.
    """
    oldest = [(key, states.pop(key)) for key in list(islice(states, 1 + len(states) // 5))]
    kept = [(key, state) for key, state in oldest if _has_alert(state[1])][: len(oldest) // 2]
    states |= kept
    metrics.states_refused.labels("too_many").inc(len(oldest) - len(kept))


def _has_alert(value: bytes) -> bool:
    try:
        return records.decode(value)[1].get("alert") is not None
    except Malformed:
        return False


def _compare(partition: int, offset: int, audited: int) -> None:
    """Say that a group's offset was set from outside, where it is not what the audit log says."""
    if offset < audited:
        _log.warning(
            "partition %d: the group's offset is %s, but everything before %d was scored; going on there. "
            "To score again: docs/operations.md#score-again",
            partition, offset if offset >= 0 else "not set", audited,
        )  # fmt: skip
    elif offset > audited:
        gaps.note(partition, audited, offset - audited, "set_forward")


def _within(partition: int, start: int, low: int, high: int) -> int:
    """Where a partition goes on that was scored up to `start` (negative: never) and holds `low` to `high`."""
    if low <= start <= high:
        return start
    if 0 <= start < low:
        gaps.note(partition, start, low - start, "deleted")
    elif start > high:
        _log.warning(
            "partition %d: scored up to offset %d, but the log has %d to %d; starting at %d",
            partition, start, low, high, low,
        )  # fmt: skip
    return low
