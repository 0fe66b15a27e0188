"""Follows the logs while they grow: how far every stage is behind the cars, and when each record arrived."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from contract import records
from contract.bounds import latest_ms
from contract.topics import AUDIT, TELEMETRY, TELEMETRY_PARTITIONS, mirrored
from contract.varints import Longs
from loadtest.chaos.auditor import first_occurrences
from local.ledger import SEQ_BITS, Log, LogDecoder
from local.watch import reader

STAGES = ("edge", "scored", "cloud")
_BATCH = 5_000
_WAIT_S = 0.02
_OBSERVE_EVERY_S = 0.1


@dataclass(frozen=True)
class Lag:
    """How far the stages were behind at one moment."""

    at_s: float  # since 1970
    # By stage, the age of the newest record of the car that is furthest behind.
    behind_s: tuple[float, float, float]


def recovered_at(timeline: Sequence[Lag], since_s: float, bound_s: float, hold_s: float) -> float | None:
    """From when on no stage was further behind than `bound_s`, for at least `hold_s`; None: not yet."""
    begun: float | None = None
    for lag in timeline:
        if lag.at_s < since_s:
            continue
        if max(lag.behind_s) > bound_s:
            begun = None
            continue
        begun = lag.at_s if begun is None else begun
        if lag.at_s - begun >= hold_s:
            return begun
    return None


def with_deleted(held: Log, seen: Log) -> Log:
    """What a log has ever had: what it still holds, and of what it does not hold any more, what was seen."""
    first = np.full(TELEMETRY_PARTITIONS, np.iinfo(np.int64).max)
    np.minimum.at(first, held.partition, held.offset)
    gone = seen.rows(seen.offset < first[seen.partition])
    _, once = np.unique(np.stack([gone.partition, gone.offset]), axis=1, return_index=True)
    return Log.of([gone.rows(once), held])


class _ScoredRows:
    """The rows of edge Kafka's log that the audit log covers, while both grow."""

    def __init__(self) -> None:
        # By partition, the offset behind the last scored one.
        self._scored_to: dict[int, int] = defaultdict(int)
        self._waiting: dict[int, deque[tuple[Longs, Longs, Longs]]] = defaultdict(deque)

    def add_rows(self, partition: int, offsets: Longs, cars: Longs, sampled_at: Longs) -> None:
        self._waiting[partition].append((offsets, cars, sampled_at))

    def add_audit(self, partition: int, last: int) -> None:
        self._scored_to[partition] = max(self._scored_to[partition], last + 1)

    def update(self, newest: Longs) -> int:
        """Raise `newest` (cars,) to the time stamps of newly scored rows; returns their number."""
        count = 0
        for partition, waiting in self._waiting.items():
            scored_to = self._scored_to[partition]
            while waiting and waiting[0][0][0] < scored_to:
                offsets, cars, sampled_at = waiting.popleft()
                covered = int(np.searchsorted(offsets, scored_to))
                np.maximum.at(newest, cars[:covered], sampled_at[:covered])
                count += covered
                if covered < len(offsets):
                    waiting.appendleft((offsets[covered:], cars[covered:], sampled_at[covered:]))
        return count


class LogFollower:
    """Reads the logs on a thread of its own, the only one that writes to its attributes."""

    def __init__(self, edge_bootstrap: str, cloud_bootstrap: str, car_ids: Sequence[str]) -> None:
        self.timeline: list[Lag] = []
        self.rows = dict.fromkeys(STAGES, 0)  # with repetitions and undecodable records
        self._newest = {stage: np.zeros(len(car_ids), np.int64) for stage in STAGES}
        none = np.empty(0, np.int64)
        self._arrived = {stage: [(none, none)] for stage in STAGES}  # (records, ms since 1970)
        self._edge_log: list[Log] = []
        self._read_to = dict[int, int]()  # by partition of edge Kafka
        self._decoder = LogDecoder(car_ids)
        self._scored = _ScoredRows()
        self._readers = {
            "edge": reader(edge_bootstrap, TELEMETRY, fetch_wait_max_ms=20),
            "cloud": reader(cloud_bootstrap, mirrored("edge", TELEMETRY), fetch_wait_max_ms=20),
        }
        self._audits = reader(edge_bootstrap, AUDIT, fetch_wait_max_ms=20)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._ended.set()
        self._thread.join(timeout=10)

    @property
    def behind_s(self) -> tuple[float, float, float]:
        """The present lag by stage; infinite before the first observation."""
        return self.timeline[-1].behind_s if self.timeline else (float("inf"),) * 3

    @property
    def cloud_is_at_s(self) -> float:
        """The cloud has all that any car sampled before; s since 1970, 0 before the first observation."""
        return self.timeline[-1].at_s - self.timeline[-1].behind_s[2] if self.timeline else 0.0

    def read_to(self) -> dict[int, int]:
        """By partition of edge Kafka, the offset after the last that was read."""
        return dict(self._read_to)

    def edge_log(self) -> Log:
        """All that was read of edge Kafka. Call it after `close`."""
        return Log.of(self._edge_log)

    def first_arrivals(self, stage: str, record: Longs) -> Longs:
        """When each of the records (n,) arrived first, ms since 1970; -1: a repetition, or it did not arrive.

        Call it after `close`.
        """
        arrived, at = map(np.concatenate, zip(*self._arrived[stage], strict=True))
        _, first, row = np.unique(np.concatenate([arrived, record]), return_index=True, return_inverse=True)
        first_at = np.append(at, np.full(len(record), -1, np.int64))[first][row[len(arrived) :]]
        return np.where(first_occurrences(record), first_at, -1)

    def _run(self) -> None:
        observe_at = 0.0
        while not self._ended.is_set():
            for stage, consumer in self._readers.items():
                self._take(stage, [m for m in consumer.consume(_BATCH, _WAIT_S) if m.error() is None])
            for message in self._audits.consume(_BATCH, 0):
                if message.error() is None:
                    _, audit = records.decode(message.value() or b"")
                    self._scored.add_audit(audit["partition"], audit["last_offset"])
            self.rows["scored"] += self._scored.update(self._newest["scored"])
            if time.monotonic() >= observe_at:
                observe_at = time.monotonic() + _OBSERVE_EVERY_S
                now_s = time.time()
                behind = [now_s - float(self._newest[stage].min()) / 1000 for stage in STAGES]
                self.timeline.append(Lag(now_s, (behind[0], behind[1], behind[2])))
        for consumer in (*self._readers.values(), self._audits):
            consumer.close()

    def _take(self, stage: str, messages: list[Any]) -> None:
        if not messages:
            return
        log = self._decoder.decode(messages)
        self.rows[stage] += len(log.record)
        decodable = log.record >= 0
        cars = np.where(decodable, log.record >> SEQ_BITS, 0)
        # A time ahead of ours says nothing about how far behind a car is; scorers refuse such records.
        credible = decodable & (log.sampled_at <= latest_ms(time.time_ns() // 1_000_000))
        sampled_at = np.where(credible, log.sampled_at, 0)
        np.maximum.at(self._newest[stage], cars, sampled_at)
        record = log.record[decodable]
        self._arrived[stage].append((record, np.full(len(record), time.time_ns() // 1_000_000)))
        if stage == "edge":
            self._edge_log.append(log)
            for partition in np.unique(log.partition).tolist():
                rows = log.partition == partition
                self._read_to[partition] = int(log.offset[rows].max()) + 1
                self._scored.add_rows(partition, log.offset[rows], cars[rows], sampled_at[rows])
