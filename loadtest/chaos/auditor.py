"""What is wrong with the logs of a run, record by record. Pure: arrays in, mishaps out.

The cars' own record says what must be there: seq 1 to `sent` of each car. Edge Kafka's log is held against
it, the audit log of the scorers and the cloud's log are held against edge Kafka's. How the audit log proves
what was scored, when, and in which order, stands at `scoring`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.varints import Longs
from local.ledger import SEQ_BITS, Log, Published

Mask = NDArray[np.bool_]
_NOBODY = -1


@dataclass(frozen=True)
class Runs:
    """The audit log, a run of offsets a row (m,); those of a partition in the order of their writing."""

    partition: Longs
    first: Longs
    last: Longs
    scored: Longs
    rejected: Longs
    duplicates: Longs
    scored_at: Longs

    @classmethod
    def of(cls, audits: Sequence[Mapping[str, Any]]) -> "Runs":
        """From audit records (contract/schemas/audit.v1.avsc)."""
        names = (
            "partition", "first_offset", "last_offset", "scored", "rejected", "duplicates", "scored_at"
        )  # fmt: skip
        return cls(*(np.array([audit[name] for audit in audits], np.int64) for name in names))


@dataclass(frozen=True)
class Mishaps:
    """(k,) each: the record (car and seq in one number, -1 where unknown) and when, ms since 1970."""

    record: Longs
    at: Longs

    def __len__(self) -> int:
        return len(self.record)


@dataclass(frozen=True)
class Scoring:
    """What the audit log proves: `at` (n,) ms since 1970 when a row of the log was scored, -1: never."""

    at: Longs
    twice: Mishaps
    never: Mishaps
    late: Mishaps
    unaudited: Mishaps
    misjudged: Mishaps


@dataclass(frozen=True)
class Findings:
    """All that is wrong. A record is lost once: at the first stage that misses it."""

    lost_before_edge: Mishaps
    duplicates: Mishaps  # repetitions in edge Kafka: allowed, counted
    late_at_edge: Mishaps
    strangers: Mishaps  # records that no car sent
    scoring: Scoring
    lost_before_cloud: Mishaps
    doubled_in_cloud: Mishaps
    late_in_cloud: Mishaps

    @property
    def lost(self) -> Mishaps:
        """Of all stages."""
        return _joined(self.lost_before_edge, self.scoring.never, self.lost_before_cloud)

    @property
    def order_violations(self) -> Mishaps:
        """Records behind a newer one of their car, in a log or in the order of scoring; each once."""
        found = _joined(self.late_at_edge, self.scoring.late, self.late_in_cloud)
        record, first = np.unique(found.record, return_index=True)
        return Mishaps(record, found.at[first])


def audit(published: Published, edge: Log, runs: Runs, cloud: Log) -> Findings:
    """Hold every stage against the one before."""
    edge, cloud = edge.sorted(), cloud.sorted()
    genuine = is_genuine(published, edge.record)
    first = genuine & first_occurrences(edge.record)
    repeated = genuine & ~first
    strange = (edge.record != _NOBODY) & ~genuine
    missing, doubled = compare(edge, cloud)
    in_cloud = (cloud.record != _NOBODY) & first_occurrences(cloud.record)
    return Findings(
        lost_before_edge=lost(published, edge.rows(first)),
        duplicates=_mishaps(edge, repeated),
        late_at_edge=_mishaps(edge, _late_rows(edge, first)),
        strangers=_mishaps(edge, strange),
        scoring=scoring(edge, genuine, runs),
        lost_before_cloud=missing,
        doubled_in_cloud=doubled,
        late_in_cloud=_mishaps(cloud, _late_rows(cloud, in_cloud)),
    )


def is_genuine(published: Published, record: Longs) -> Mask:
    """Which records (n,) a car sent."""
    car, seq = record >> SEQ_BITS, record & ((1 << SEQ_BITS) - 1)
    sent: Mask = (record >= 0) & (seq >= 1) & (seq <= published.sent[np.maximum(car, 0)])
    return sent


def lost(published: Published, found: Log) -> Mishaps:
    """Records that were sent and are not among the found ones (each at most once).

    Their time is when the car's next record was written: from then on the hole could be seen.
    """
    cars = np.repeat(np.arange(len(published.sent)), published.sent)
    seq = 1 + np.arange(len(cars)) - np.repeat(np.cumsum(published.sent) - published.sent, published.sent)
    order = np.argsort(found.record)
    have, written_at = found.record[order], found.written_at[order]
    missing = np.setdiff1d(cars << SEQ_BITS | seq, have, assume_unique=True)
    end = written_at.max(initial=0)
    after = np.searchsorted(have, missing)
    followed = after < len(have)
    followed[followed] = have[after[followed]] >> SEQ_BITS == missing[followed] >> SEQ_BITS
    at = np.full(len(missing), end, np.int64)
    at[followed] = written_at[after[followed]]
    return Mishaps(missing, at)


def compare(edge: Log, cloud: Log) -> tuple[Mishaps, Mishaps]:
    """Rows that the cloud lacks, and those it has too often, against edge Kafka, repetitions and all."""
    known, first, there = np.unique(edge.record, return_index=True, return_counts=True)
    copied, first_copied, copies = np.unique(cloud.record, return_index=True, return_counts=True)
    record = np.union1d(known, copied)
    more = np.zeros(len(record), np.int64)
    at = np.zeros(len(record), np.int64)
    places = np.searchsorted(record, copied)
    more[places], at[places] = copies, cloud.written_at[first_copied]
    places = np.searchsorted(record, known)
    more[places] -= there
    at[places] = edge.written_at[first]
    missing, doubled = np.maximum(-more, 0), np.maximum(more, 0)
    return (
        Mishaps(np.repeat(record, missing), np.repeat(at, missing)),
        Mishaps(np.repeat(record, doubled), np.repeat(at, doubled)),
    )


def scoring(edge: Log, genuine: Mask, runs: Runs) -> Scoring:
    """What was scored, how often, and in which order; `edge` by partition and offset, `genuine` (n,).

    A scorer takes a partition's offsets in order and leaves out what it has seen; a run of the audit log says
    how many of its offsets it scored. A partition's runs stand in the audit log in the order in which they
    were scored. So the order of scoring is by run, then by offset; in it the first occurrence of a record is
    the one that is to be scored, and a run must count exactly its first occurrences. One that counts more
    scored some twice (also where runs overlap: what an earlier run covered is no first occurrence any more);
    one that counts less left some out.
    """
    rank, sizes, undecodable = _ranks(edge, runs)
    covered = rank >= 0
    order = np.lexsort((edge.offset, rank))
    order = order[covered[order] & genuine[order]]
    fresh = order[first_occurrences(edge.record[order])]
    due = np.bincount(rank[fresh], minlength=len(runs.first))
    excess = runs.scored - due
    never = genuine & first_occurrences(edge.record) & ~np.isin(edge.record, edge.record[fresh])
    behind = fresh[behind_newer(edge.record[fresh])]
    at = np.full(len(edge.record), _NOBODY, np.int64)
    at[fresh] = runs.scored_at[rank[fresh]]
    odd = (runs.rejected != undecodable) | (runs.scored + runs.duplicates + runs.rejected != sizes)
    left_out = np.maximum(-excess, 0)
    unknown = np.full(left_out.sum(), _NOBODY, np.int64)
    return Scoring(
        at=at,
        twice=_unknown(runs.scored_at, np.maximum(excess, 0)),
        never=_joined(_mishaps(edge, never), Mishaps(unknown, np.repeat(runs.scored_at, left_out))),
        late=Mishaps(edge.record[behind], runs.scored_at[rank[behind]]),
        unaudited=_mishaps(edge, ~covered),
        misjudged=_unknown(runs.scored_at, odd.astype(np.int64)),
    )


def _ranks(edge: Log, runs: Runs) -> tuple[Longs, Longs, Longs]:
    """Of each row (n,) its first run, -1: none; of each run (m,) its rows, and the undecodable ones."""
    rank = np.full(len(edge.record), _NOBODY, np.int64)
    begin = np.searchsorted(edge.partition, runs.partition)
    beyond = np.searchsorted(edge.partition, runs.partition, "right")
    broken = np.concatenate([[0], np.cumsum(edge.record == _NOBODY)])
    starts, ends = np.empty_like(runs.first), np.empty_like(runs.first)
    for partition in np.unique(runs.partition):
        mine = np.flatnonzero(runs.partition == partition)
        low, high = begin[mine[0]], beyond[mine[0]]
        offsets = edge.offset[low:high]
        starts[mine] = low + np.searchsorted(offsets, runs.first[mine])
        ends[mine] = low + np.searchsorted(offsets, runs.last[mine], "right")
    for run in range(len(runs.first) - 1, -1, -1):  # backwards: of several runs the first one stays
        rank[starts[run] : ends[run]] = run
    return rank, ends - starts, broken[ends] - broken[starts]


def first_occurrences(record: Longs) -> Mask:
    """Which of the records (n,), in order, were not there before."""
    _, first = np.unique(record, return_index=True)
    found = np.zeros(len(record), np.bool_)
    found[first] = True
    return found


def behind_newer(record: Longs) -> Mask:
    """Which of the records (n,), in order, stand behind one of the same car with a higher seq."""
    order = np.argsort(record >> SEQ_BITS, kind="stable")
    of_cars = record[order]
    found = np.zeros(len(record), np.bool_)
    # The car is the upper part of the number, so no car's highest is above another's.
    found[order] = np.maximum.accumulate(of_cars) > of_cars if len(of_cars) else False
    return found


def per_window(mishaps: Mishaps, begins: Longs) -> Longs:
    """How many happened in each window; they begin at `begins` (k,) and end where the next begins."""
    place = np.searchsorted(begins, mishaps.at, "right") - 1
    return np.bincount(place[place >= 0], minlength=len(begins))


def _late_rows(log: Log, first: Mask) -> Mask:
    """First occurrences behind a newer record of their car, or in another partition than its first one."""
    rows = np.flatnonzero(first)
    late = np.zeros(len(first), np.bool_)
    late[rows] = behind_newer(log.record[rows])
    car = log.record[rows] >> SEQ_BITS
    _, firsts, of_car = np.unique(car, return_index=True, return_inverse=True)
    late[rows] |= log.partition[rows] != log.partition[rows][firsts][of_car]
    return late


def _mishaps(log: Log, rows: Mask) -> Mishaps:
    return Mishaps(log.record[rows], log.written_at[rows])


def _unknown(at: Longs, times: Longs) -> Mishaps:
    """Mishaps of records that nobody can name, at `at` (m,) so many `times` (m,) each."""
    return Mishaps(np.full(times.sum(), _NOBODY, np.int64), np.repeat(at, times))


def _joined(*parts: Mishaps) -> Mishaps:
    return Mishaps(np.concatenate([p.record for p in parts]), np.concatenate([p.at for p in parts]))
