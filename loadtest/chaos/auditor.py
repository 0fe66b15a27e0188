"""Finds every record that is lost, doubled or out of order in the logs of a run. Pure functions of arrays.

The cars' own record says what must be there: seq 1 to `sent` of each car. Edge Kafka's log is compared with
it; the scorers' audit log and the cloud's log are compared with edge Kafka's. `scoring` explains how the
audit log proves what was scored, when, and in which order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.varints import Longs
from local.ledger import SEQ_BITS, Log, Published

Mask = NDArray[np.bool_]
_UNKNOWN = -1
_NONE = np.empty(0, np.int64)


@dataclass(frozen=True)
class AuditedRanges:
    """The audit log: m ranges of offsets, those of a partition in the order of scoring; arrays are (m,)."""

    partition: Longs
    first_offset: Longs
    last_offset: Longs
    scored: Longs  # records in the range that were scored
    rejected: Longs  # records that could not be decoded
    duplicates: Longs  # records that were skipped because they had been scored before
    late: Longs  # scored records that were not their car's newest: they can open no alert
    scored_at: Longs  # ms since 1970

    @classmethod
    def from_records(cls, audits: Sequence[Mapping[str, Any]]) -> "AuditedRanges":
        """From audit records (contract/schemas/audit.v1.avsc)."""
        return cls(*(np.array([audit[field.name] for audit in audits], np.int64) for field in fields(cls)))


class Gap(NamedTuple):
    """Records of edge Kafka that a reader says it will not read."""

    partition: int
    first: int  # offset
    records: int


@dataclass(frozen=True)
class Mishaps:
    """k records with which the same thing went wrong; both arrays are (k,)."""

    record: Longs  # car and seq in one number (local/ledger.py); -1 where unknown
    at: Longs  # ms since 1970

    def __len__(self) -> int:
        return len(self.record)

    def rows(self, rows: Mask) -> "Mishaps":
        """The mishaps where this mask (k,) is true."""
        return Mishaps(self.record[rows], self.at[rows])


@dataclass(frozen=True)
class Scoring:
    """What the audit log proves about the n records of edge Kafka's log."""

    at: Longs  # (n,) when each was scored, ms since 1970; -1: never, or a repetition
    twice: Mishaps  # scored twice
    never: Mishaps  # not scored
    late: Mishaps  # scored after a newer record of their car
    unaudited: Mishaps  # offsets that no range covers
    misjudged: Mishaps  # ranges whose counts do not fit the log
    silenced: Mishaps  # scored as late, but were the newest of their car


@dataclass(frozen=True)
class Findings:
    """All that is wrong. A lost record is counted once, at the first stage that misses it."""

    # Left out by rule, which is not wrong: because their time was ahead of ours; not scored, or not copied
    # (rows), because Kafka had deleted them before.
    refused: int
    unscored: int
    uncopied: int
    lost_before_edge: Mishaps
    duplicates: Mishaps  # repetitions in edge Kafka, which are allowed
    late_at_edge: Mishaps  # behind a newer record of their car
    strangers: Mishaps  # records that no car sent
    scoring: Scoring
    lost_before_cloud: Mishaps
    doubled_in_cloud: Mishaps
    late_in_cloud: Mishaps

    @property
    def lost(self) -> Mishaps:
        """Lost records of all stages."""
        return _join(self.lost_before_edge, self.scoring.never, self.lost_before_cloud)

    @property
    def order_violations(self) -> Mishaps:
        """Records behind a newer one of their car, in a log or in the order of scoring; each once."""
        late = _join(self.late_at_edge, self.scoring.late, self.late_in_cloud)
        record, first = np.unique(late.record, return_index=True)
        return Mishaps(record, late.at[first])


def audit(
    published: Published,
    edge: Log,
    ranges: AuditedRanges,
    cloud: Log,
    *,
    refused: Longs = _NONE,
    skipped: Sequence[Gap] = (),
    uncopied: Sequence[Gap] = (),
) -> Findings:
    """Compare every stage with the one before.

    What was left out by rule: `refused` (k,) are records, each once; `skipped` say the scorers, `uncopied`
    the watch over MirrorMaker. `edge` has all that was ever written, also what Kafka has deleted.
    """
    edge, cloud = edge.sorted(), cloud.sorted()
    # What a bridge of 0.2 forwards although it is ahead of time, scorers refuse as what cannot be decoded.
    acceptable = edge._replace(record=np.where(np.isin(edge.record, refused), _UNKNOWN, edge.record))
    genuine = published.sent_records(acceptable.record)
    first = genuine & first_occurrences(acceptable.record)
    absent = lost(published, acceptable.rows(first))
    by_rule = np.isin(absent.record, refused)
    never_read, never_copied = covered(edge, skipped), covered(edge, uncopied)
    missing, doubled = compare(edge.rows(~never_copied), cloud)
    in_cloud = (cloud.record != _UNKNOWN) & first_occurrences(cloud.record)
    return Findings(
        refused=int(np.count_nonzero(by_rule)),
        unscored=len(np.setdiff1d(edge.record[first], edge.record[genuine & ~never_read])),
        uncopied=int(np.count_nonzero(never_copied)),
        lost_before_edge=absent.rows(~by_rule),
        duplicates=_mishaps(edge, genuine & ~first),
        late_at_edge=_mishaps(edge, _late_rows(acceptable, first)),
        strangers=_mishaps(edge, (acceptable.record != _UNKNOWN) & ~genuine),
        scoring=_scoring_without(never_read, acceptable, genuine, ranges),
        lost_before_cloud=missing,
        doubled_in_cloud=doubled,
        late_in_cloud=_mishaps(cloud, _late_rows(cloud, in_cloud)),
    )


def lost(published: Published, log: Log) -> Mishaps:
    """Records that were sent and are not in `log`, which holds each record at most once.

    Their time is when the next record of their car was written: from then on the gap is visible.
    """
    cars = np.repeat(np.arange(len(published.sent)), published.sent)
    seq = 1 + np.arange(len(cars)) - np.repeat(np.cumsum(published.sent) - published.sent, published.sent)
    order = np.argsort(log.record)
    present, written_at = log.record[order], log.written_at[order]
    missing = np.setdiff1d(cars << SEQ_BITS | seq, present, assume_unique=True)
    after = np.searchsorted(present, missing)
    followed = after < len(present)
    followed[followed] = present[after[followed]] >> SEQ_BITS == missing[followed] >> SEQ_BITS
    at = np.full(len(missing), written_at.max(initial=0), np.int64)
    at[followed] = written_at[after[followed]]
    return Mishaps(missing, at)


def compare(edge: Log, cloud: Log) -> tuple[Mishaps, Mishaps]:
    """(rows missing in the cloud, rows that it has too often) compared with edge Kafka, with repetitions."""
    both = Log.of([edge, cloud])
    record, first, row = np.unique(both.record, return_index=True, return_inverse=True)
    at_edge, in_cloud = (
        np.bincount(rows, minlength=len(record)) for rows in np.split(row, [len(edge.record)])
    )
    at = both.written_at[first]
    missing, doubled = np.maximum(at_edge - in_cloud, 0), np.maximum(in_cloud - at_edge, 0)
    return (
        Mishaps(np.repeat(record, missing), np.repeat(at, missing)),
        Mishaps(np.repeat(record, doubled), np.repeat(at, doubled)),
    )


def scoring(edge: Log, genuine: Mask, ranges: AuditedRanges) -> Scoring:
    """What was scored, how often, and in which order; `edge` by partition and offset, `genuine` (n,).

    A scorer reads a partition in the order of offsets and skips records that it has scored before; each range
    of the audit log says how many of its records it scored. The ranges of a partition stand in the order in
    which they were scored, so the order of scoring is by range, then by offset. The first occurrence of a
    record in that order is to be scored, and a range must count exactly its first occurrences. A range that
    counts more has scored some records twice (also where ranges overlap, because a record covered by an
    earlier range is no first occurrence); a range that counts less has left some out.
    """
    rank, sizes, undecodable = _ranks(edge, ranges)
    audited = rank >= 0
    order = np.lexsort((edge.offset, rank))
    order = order[audited[order] & genuine[order]]
    fresh = order[first_occurrences(edge.record[order])]
    excess = ranges.scored - np.bincount(rank[fresh], minlength=len(ranges.first_offset))
    never = genuine & first_occurrences(edge.record) & ~np.isin(edge.record, edge.record[fresh])
    behind = fresh[behind_newer(edge.record[fresh])]
    late = np.bincount(rank[behind], minlength=len(ranges.first_offset))
    at = np.full(len(edge.record), _UNKNOWN, np.int64)
    at[fresh] = ranges.scored_at[rank[fresh]]
    odd = (ranges.rejected != undecodable) | (ranges.scored + ranges.duplicates + ranges.rejected != sizes)
    return Scoring(
        at=at,
        twice=_unknown(ranges.scored_at, np.maximum(excess, 0)),
        never=_join(_mishaps(edge, never), _unknown(ranges.scored_at, np.maximum(-excess, 0))),
        late=Mishaps(edge.record[behind], ranges.scored_at[rank[behind]]),
        unaudited=_mishaps(edge, ~audited),
        misjudged=_unknown(ranges.scored_at, odd.astype(np.int64)),
        silenced=_unknown(ranges.scored_at, np.maximum(ranges.late - late, 0)),
    )


def covered(log: Log, gaps: Sequence[Gap]) -> Mask:
    """Which rows (n,) are in one of the gaps."""
    inside = np.zeros(len(log.offset), np.bool_)
    for gap in gaps:
        offset = log.offset - gap.first
        inside |= (log.partition == gap.partition) & (offset >= 0) & (offset < gap.records)
    return inside


def _scoring_without(skipped: Mask, edge: Log, genuine: Mask, ranges: AuditedRanges) -> Scoring:
    """`scoring` where the rows `skipped` (n,) are not to be scored: a range that has them does not fit."""
    rows = ~skipped
    found = scoring(edge.rows(rows), genuine[rows], ranges)
    at = np.full(len(edge.record), _UNKNOWN, np.int64)
    at[rows] = found.at
    return replace(found, at=at)


def _ranks(edge: Log, ranges: AuditedRanges) -> tuple[Longs, Longs, Longs]:
    """(first range of each row (n,), -1: none; rows of each range (m,); undecodable ones of them (m,))."""
    rank = np.full(len(edge.record), _UNKNOWN, np.int64)
    undecodable = np.concatenate([[0], np.cumsum(edge.record == _UNKNOWN)])
    starts, ends = np.empty_like(ranges.first_offset), np.empty_like(ranges.first_offset)
    for partition in np.unique(ranges.partition):
        rows = np.flatnonzero(ranges.partition == partition)
        low, high = np.searchsorted(edge.partition, [partition, partition + 1])
        offsets = edge.offset[low:high]
        starts[rows] = low + np.searchsorted(offsets, ranges.first_offset[rows])
        ends[rows] = low + np.searchsorted(offsets, ranges.last_offset[rows], "right")
    for number in range(
        len(ranges.first_offset) - 1, -1, -1
    ):  # backwards, so that the first range of a row remains
        rank[starts[number] : ends[number]] = number
    return rank, ends - starts, undecodable[ends] - undecodable[starts]


def first_occurrences(record: Longs) -> Mask:
    """Which of the records (n,), in their order, did not occur before."""
    _, first = np.unique(record, return_index=True)
    is_first = np.zeros(len(record), np.bool_)
    is_first[first] = True
    return is_first


def behind_newer(record: Longs) -> Mask:
    """Which of the records (n,), in their order, stand behind one of the same car with a higher seq."""
    order = np.argsort(record >> SEQ_BITS, kind="stable")
    by_car = record[order]
    behind = np.zeros(len(record), np.bool_)
    # The car is the upper part of the number, so the highest record of a car is below those of later cars.
    behind[order] = np.maximum.accumulate(by_car) > by_car
    return behind


def per_window(mishaps: Mishaps, begins: Longs) -> Longs:
    """Mishaps in each window; windows begin at `begins` (k,) and end where the next one begins."""
    window = np.searchsorted(begins, mishaps.at, "right") - 1
    return np.bincount(window[window >= 0], minlength=len(begins))


def _late_rows(log: Log, first: Mask) -> Mask:
    """First occurrences behind a newer record of their car, or in another partition than the car's first."""
    rows = np.flatnonzero(first)
    late = np.zeros(len(first), np.bool_)
    late[rows] = behind_newer(log.record[rows])
    _, first_of_car, car = np.unique(log.record[rows] >> SEQ_BITS, return_index=True, return_inverse=True)
    late[rows] |= log.partition[rows] != log.partition[rows][first_of_car][car]
    return late


def _mishaps(log: Log, rows: Mask) -> Mishaps:
    return Mishaps(log.record[rows], log.written_at[rows])


def _unknown(at: Longs, counts: Longs) -> Mishaps:
    """Mishaps of unknown records: `counts` (m,) of them at each of the times `at` (m,)."""
    return Mishaps(np.full(counts.sum(), _UNKNOWN, np.int64), np.repeat(at, counts))


def _join(*parts: Mishaps) -> Mishaps:
    return Mishaps(np.concatenate([p.record for p in parts]), np.concatenate([p.at for p in parts]))
