"""A bounded, repeatable slice of the replicated log: the same offsets always give the same arrays.

The bounds are fixed before anything is read. Readers see only what is committed (`read_committed`), and what
is below the bounds is decided by then: nothing appears in between later.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from numpy.typing import NDArray

from contract import records
from contract.errors import Malformed
from contract.telemetry import SIGNALS, Decoder, Floats
from plumbing import kafka
from plumbing.life import WorldDown

Place = tuple[str, int]  # topic and partition
Bounds = dict[str, dict[int, tuple[int, int]]]
Batch = Sequence[Message]
Longs = NDArray[np.int64]

_BATCH_RECORDS = 10_000
_SILENCE_S_MAX = 30.0
_ANSWER_S_MAX = 10.0
_ASK_AGAIN = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)


@dataclass
class Telemetry:
    """n records ordered by car and seq, each (car, seq) once. `car` (n,) are places in `cars`."""

    cars: tuple[bytes, ...]
    car: NDArray[np.int32]
    seq: Longs
    sampled_at_ms: Longs
    signals: Floats
    duplicates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Report:
    """A workshop's report: `component` of `car` failed or was repaired at `occurred_at_ms`."""

    car: bytes
    component: str
    action: str
    occurred_at_ms: int


def consumer(bootstrap: str, properties: Path | None, group: str) -> Consumer:
    """For `read`: told where a partition ends, and at once, because a slice is bounded."""
    return kafka.consumer(
        bootstrap, properties, group_id=group, enable_partition_eof=True, fetch_wait_max_ms=50
    )


def bounds(consumer: Consumer, topics: Sequence[str]) -> Bounds:
    """What the topics hold now: {topic: {partition: (first, next)}}.

    A partition that is new, or changes its leader, is asked again for 10 s. Raises WorldDown.
    """
    until = time.monotonic() + _ANSWER_S_MAX
    while True:
        try:
            return _bounds(consumer, topics)
        except KafkaException as error:
            if time.monotonic() > until or error.args[0].code() not in _ASK_AGAIN:
                raise WorldDown(f"Kafka does not answer: {error.args[0].str()}") from error
        time.sleep(0.1)


def _bounds(consumer: Consumer, topics: Sequence[str]) -> Bounds:
    known = consumer.list_topics(timeout=_ANSWER_S_MAX).topics
    found: Bounds = {}
    for topic in topics:
        if topic not in known or known[topic].error is not None:
            raise WorldDown(f"Kafka has no topic {topic}")
        parts = [TopicPartition(topic, number) for number in sorted(known[topic].partitions)]
        marks = [consumer.get_watermark_offsets(part, timeout=_ANSWER_S_MAX) for part in parts]
        found[topic] = {part.partition: (low, high) for part, (low, high) in zip(parts, marks, strict=True)}
    return found


def records_in(ranges: Bounds) -> int:
    """Offsets in the ranges: the records, and one or two more a transaction."""
    return sum(after - first for partitions in ranges.values() for first, after in partitions.values())


def newest(ranges: Bounds, records_max: int) -> Bounds:
    """The ranges with at most `records_max` offsets in all: each partition keeps its newest ones.

    Every partition may keep as many as the others; what a short one leaves goes to the longer ones.
    """
    lengths = sorted(after - first for partitions in ranges.values() for first, after in partitions.values())
    left, quota = records_max, 0
    for place, length in enumerate(lengths):
        quota = left // (len(lengths) - place)
        if length > quota:
            break
        left -= length
        quota = length
    return {
        topic: {number: (max(first, after - quota), after) for number, (first, after) in partitions.items()}
        for topic, partitions in ranges.items()
    }


def read(consumer: Consumer, ranges: Bounds, take: Callable[[Batch], None]) -> None:
    """Give `take` every record within the ranges, in batches, in order within a partition.

    Raises WorldDown when nothing comes for 30 s.
    """
    ends = {
        (topic, number): after
        for topic, partitions in ranges.items()
        for number, (first, after) in partitions.items()
        if after > first
    }
    starts = [TopicPartition(topic, number, ranges[topic][number][0]) for topic, number in ends]
    consumer.assign(starts)
    heard = time.monotonic()
    while ends:
        messages = consumer.consume(_BATCH_RECORDS, 0.2)
        if messages:
            heard = time.monotonic()
        elif time.monotonic() - heard > _SILENCE_S_MAX:
            raise WorldDown(f"nothing came from {len(ends)} partitions for {_SILENCE_S_MAX:.0f} s")
        take(_within(consumer, messages, ends))
    consumer.unassign()


def _within(consumer: Consumer, messages: Batch, ends: dict[Place, int]) -> Batch:
    """The records below their partition's end; partitions that are read to their end leave `ends`."""
    kept = []
    for message in messages:
        place: Place = (message.topic(), message.partition())  # type: ignore[assignment]  # of a real message
        offset, error = message.offset() or 0, message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise WorldDown(f"{place[0]}[{place[1]}]: {error}")
        if place not in ends:
            continue
        if error is None and offset < ends[place]:
            kept.append(message)
        if error is not None or offset >= ends[place] - 1:
            del ends[place]
            consumer.pause([TopicPartition(*place)])
    return kept


def telemetry(
    consumer: Consumer, ranges: Bounds, decoder: Decoder, progress: Callable[[int], None]
) -> Telemetry:
    """The telemetry records of the ranges; what is no telemetry is left out and counted by reason.

    `progress` is told the number of records read so far.
    """
    places: dict[bytes, int] = {}
    none = np.empty(0, np.int64)
    blocks = [(none.astype(np.int32), none, none, np.empty((0, len(SIGNALS)), np.float32))]
    rejected: Counter[str] = Counter()

    def take(batch: Batch) -> None:
        keys = [message.key() for message in batch]
        decoded = decoder.decode([message.value() for message in batch], keys)
        rejected.update(error.reason for _, error in decoded.rejected)
        car = [places.setdefault(keys[row], len(places)) for row in decoded.rows.tolist()]
        blocks.append((np.array(car, np.int32), decoded.seq, decoded.sampled_at_ms, decoded.signals))
        progress(sum(len(block[0]) for block in blocks))

    read(consumer, ranges, take)
    car, seq, sampled_at_ms, signals = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return ordered(Telemetry(tuple(places), car, seq, sampled_at_ms, signals, rejected=rejected))


def ordered(read: Telemetry) -> Telemetry:
    """Cars by id, records by car and seq, without the second and later ones of the same (car, seq)."""
    by_id = sorted(range(len(read.cars)), key=read.cars.__getitem__)
    rank = np.empty(len(read.cars), np.int32)
    rank[by_id] = np.arange(len(read.cars), dtype=np.int32)
    car = rank[read.car]
    order = np.lexsort((read.seq, car))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(car[order]) != 0) | (np.diff(read.seq[order]) != 0)
    order = order[new]
    return Telemetry(
        cars=tuple(read.cars[place] for place in by_id),
        car=car[order],
        seq=read.seq[order],
        sampled_at_ms=read.sampled_at_ms[order],
        signals=read.signals[order],
        duplicates=int((~new).sum()),
        rejected=read.rejected,
    )


def reports(consumer: Consumer, ranges: Mapping[str, dict[int, tuple[int, int]]]) -> list[Report]:
    """The workshop reports of the ranges, each report id once; what is none is left out."""
    found: dict[str, Report] = {}

    def take(batch: Batch) -> None:
        for message in batch:
            try:
                name, record = records.decode(message.value() or b"")
            except Malformed:
                continue
            if name == "maintenance":
                found[record["report_id"]] = Report(
                    car=record["car_id"].encode(),
                    component=record["component"],
                    action=record["action"],
                    occurred_at_ms=record["occurred_at"],
                )

    read(consumer, dict(ranges), take)
    return sorted(found.values(), key=lambda report: (report.occurred_at_ms, report.car))
