"""A bounded, repeatable slice of the replicated log: the same offsets always give the same arrays.

The bounds are fixed before anything is read. Readers see only what is committed (`read_committed`), and what
is below the bounds is decided by then: nothing appears in between later.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer
from numpy.typing import NDArray

from contract import records
from contract.errors import Malformed
from contract.telemetry import SIGNALS, Decoder, Floats
from plumbing import kafka
from plumbing.offsets import Bounds, read

Longs = NDArray[np.int64]


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
class MaintenanceReport:
    """A workshop's report: `component` of `car` failed or was repaired at `occurred_at_ms`."""

    car: bytes
    component: str
    action: str
    occurred_at_ms: int


def consumer(bootstrap: str, properties: Path | None, group: str) -> Consumer:
    """A consumer for `plumbing.offsets.read`: it reports the end of a partition, and at once."""
    return kafka.consumer(
        bootstrap, properties, group_id=group, enable_partition_eof=True, fetch_wait_max_ms=50
    )


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


def telemetry(
    consumer: Consumer, ranges: Bounds, decoder: Decoder, progress: Callable[[int], None]
) -> Telemetry:
    """The telemetry records of the ranges; what is no telemetry is left out and counted by reason.

    `progress` is called with the number of records read so far, also while none come.
    """
    places: dict[bytes, int] = {}
    none = np.empty(0, np.int64)
    blocks = [(none.astype(np.int32), none, none, np.empty((0, len(SIGNALS)), np.float32))]
    rejected: Counter[str] = Counter()

    for batch in read(consumer, ranges):
        keys = [message.key() for message in batch]
        decoded = decoder.decode([message.value() for message in batch], keys)
        rejected.update(error.reason for _, error in decoded.rejected)
        numbers = [places.setdefault(keys[row], len(places)) for row in decoded.rows.tolist()]
        blocks.append((np.array(numbers, np.int32), decoded.seq, decoded.sampled_at_ms, decoded.signals))
        progress(sum(len(block[0]) for block in blocks))
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


def reports(consumer: Consumer, ranges: Mapping[str, dict[int, tuple[int, int]]]) -> list[MaintenanceReport]:
    """The workshop reports of the ranges, each report id once; what is none is left out."""
    found: dict[str, MaintenanceReport] = {}

    for batch in read(consumer, dict(ranges)):
        for message in batch:
            try:
                name, record = records.decode(message.value() or b"")
            except Malformed:
                continue
            if name == "maintenance":
                found[record["report_id"]] = MaintenanceReport(
                    car=record["car_id"].encode(),
                    component=record["component"],
                    action=record["action"],
                    occurred_at_ms=record["occurred_at"],
                )
    return sorted(found.values(), key=lambda report: (report.occurred_at_ms, report.car))
