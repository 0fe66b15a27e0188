"""A bounded, repeatable slice of the replicated log: the same offsets always give the same arrays.

The bounds are fixed before anything is read. Readers see only committed records (`read_committed`), and below
the bounds every transaction has ended by then: no record appears there later.
"""

import logging
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, Message
from numpy.typing import NDArray

from contract import maintenance, records
from contract.errors import Malformed
from contract.maintenance import Action
from contract.schema import Schema
from contract.telemetry import SIGNALS, Decoded, Decoder, Floats
from plumbing import kafka
from plumbing.offsets import Bounds, read

_log = logging.getLogger("trainer")

SLICE = "slice"  # header of the records of a kept slice: its id (history/slices.py)


@dataclass
class Telemetry:
    """n telemetry records by car and seq, each (car, seq) once."""

    cars: tuple[bytes, ...]  # ids, ascending
    car: NDArray[np.int32]  # (n,) the car of each record, an index in `cars`
    seq: NDArray[np.int64]  # (n,)
    sampled_at_ms: NDArray[np.int64]  # (n,) since 1970
    signals: Floats  # (n, K) NaN where missing
    duplicates: int = 0  # records left out because their (car, seq) was there already
    rejected: Counter[str] = field(default_factory=Counter)  # records that are not telemetry, by reason


@dataclass(frozen=True)
class MaintenanceReport:
    """A workshop's report about a component of a car."""

    car: bytes
    component: str
    action: Action
    occurred_at_ms: int  # since 1970


def consumer(bootstrap: str, properties: Path | None, group: str) -> Consumer:
    """A consumer for `plumbing.offsets.read`: it reports the end of a partition, and at once.

    Offsets that the log does not hold any more are an error: it must not go on from others.
    """
    return kafka.consumer(
        bootstrap,
        properties,
        group_id=group,
        enable_partition_eof=True,
        fetch_wait_max_ms=10,  # so long an end takes behind the marker of a transaction
        auto_offset_reset="error",
    )


def records_in(ranges: Bounds) -> int:
    """Offsets in the ranges: one for each record, and one or two more for each transaction."""
    return sum(after - first for partitions in ranges.values() for first, after in partitions.values())


def newest(ranges: Bounds, records_max: int) -> Bounds:
    """The newest offsets of each partition, at most `records_max` in all.

    Every partition keeps equally many; what a short one leaves goes to the longer ones.
    """
    lengths = [after - first for partitions in ranges.values() for first, after in partitions.values()]
    quotas = range(max(lengths, default=0) + 1)
    quota = bisect_right(quotas, records_max, key=lambda most: sum(min(each, most) for each in lengths)) - 1
    return {
        topic: {number: (max(first, after - quota), after) for number, (first, after) in partitions.items()}
        for topic, partitions in ranges.items()
    }


def telemetry(
    consumer: Consumer,
    ranges: Bounds,
    decoder: Decoder,
    progress: Callable[[int], None],
    slice_id: str | None = None,
) -> Telemetry:
    """The telemetry records of the ranges; other records are left out and counted by reason.

    `progress` is called with the number of records read so far, also while none come. `slice_id`: only the
    records of this kept slice.
    """
    cars: dict[bytes, int] = {}  # id -> number, in the order in which they come
    none = np.empty(0, np.int64)
    blocks = [(none.astype(np.int32), none, none, np.empty((0, len(SIGNALS)), np.float32))]
    rejected: Counter[str] = Counter()

    for numbers, decoded in batches(consumer, ranges, decoder, cars, slice_id):
        rejected.update(error.reason for _, error in decoded.rejected)
        blocks.append((numbers, decoded.seq, decoded.sampled_at_ms, decoded.signals))
        progress(sum(len(block[0]) for block in blocks))
    car, seq, sampled_at_ms, signals = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return ordered(Telemetry(tuple(cars), car, seq, sampled_at_ms, signals, rejected=rejected))


def batches(
    consumer: Consumer, ranges: Bounds, decoder: Decoder, cars: dict[bytes, int], slice_id: str | None = None
) -> Iterator[tuple[NDArray[np.int32], Decoded]]:
    """Yields (the car's number (m,), m telemetry records) as they come; a new car gets the next number."""
    for batch in _records(consumer, ranges, slice_id):
        keys = [message.key() for message in batch]
        decoded = decoder.decode([message.value() for message in batch], keys)
        numbers = [cars.setdefault(keys[row], len(cars)) for row in decoded.rows.tolist()]
        yield np.array(numbers, np.int32), decoded


def ordered(read: Telemetry) -> Telemetry:
    """Cars sorted by id and records by car and seq, the first record of each (car, seq) only."""
    rank = {name: number for number, name in enumerate(sorted(read.cars))}
    car = np.array([rank[name] for name in read.cars], np.int32)[read.car]
    order = np.lexsort((read.seq, car))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(car[order]) != 0) | (np.diff(read.seq[order]) != 0)
    order = order[new]
    return Telemetry(
        cars=tuple(rank),
        car=car[order],
        seq=read.seq[order],
        sampled_at_ms=read.sampled_at_ms[order],
        signals=read.signals[order],
        duplicates=int((~new).sum()),
        rejected=read.rejected,
    )


def reports(
    consumer: Consumer, ranges: Bounds, schemas: Mapping[int, Schema], slice_id: str | None = None
) -> list[MaintenanceReport]:
    """The workshop reports of the ranges; other records are left out.

    A car's report ids count once each, as they came first: neither a later report nor one of another car
    replaces what a workshop has said. `schemas`: the versions of the report, by their ids in Kafka's frames.
    """
    by_id: dict[tuple[str, str], MaintenanceReport] = {}
    changed = 0
    for message in chain.from_iterable(_records(consumer, ranges, slice_id)):
        try:
            name, record = records.decode(message.value() or b"", schemas)
        except Malformed:
            continue
        if name == "maintenance":
            report = MaintenanceReport(
                car=record["car_id"].encode(),
                component=record["component"],
                action=maintenance.action(record),
                occurred_at_ms=record["occurred_at"],
            )
            first = by_id.setdefault((record["car_id"], record["report_id"]), report)
            changed += first != report
    if changed:
        _log.warning(
            "reports with the id of an earlier one of their car are left out", extra={"reports": changed}
        )
    return sorted(by_id.values(), key=lambda report: (report.occurred_at_ms, report.car))


def faulty_cars(reports: Iterable[MaintenanceReport]) -> set[bytes]:
    """The cars in which something failed or was repaired, not those in which a workshop found nothing."""
    return {report.car for report in reports if report.action != maintenance.INSPECTED}


def _records(consumer: Consumer, ranges: Bounds, slice_id: str | None) -> Iterator[list[Message]]:
    """The records of the ranges or, of these, those of a kept slice."""
    if slice_id is None:
        return read(consumer, ranges)
    mark = (SLICE, slice_id.encode())
    return (
        [message for message in batch if mark in (message.headers() or ())]
        for batch in read(consumer, ranges)
    )
