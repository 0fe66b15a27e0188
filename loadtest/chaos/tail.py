"""Reads along: how far behind the cars every stage is, and when each record arrived there."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from confluent_kafka import Consumer, TopicPartition

from contract import records
from contract.topics import AUDIT, TELEMETRY, mirrored
from contract.varints import Longs
from local.ledger import SEQ_BITS, LogDecoder
from plumbing import kafka

STAGES = ("edge", "scored", "cloud")
_BATCH = 5_000
_WAIT_S = 0.02
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True)
class Moment:
    """At `at_s` (since 1970) the newest record of the car that is worst off was so old, by stage."""

    at_s: float
    behind_s: tuple[float, float, float]


def recovered_at(timeline: Sequence[Moment], since_s: float, bound_s: float, hold_s: float) -> float | None:
    """From when on no stage was further behind than `bound_s`, and that for `hold_s`; None: not yet."""
    begun: float | None = None
    for moment in timeline:
        if moment.at_s < since_s:
            continue
        if max(moment.behind_s) > bound_s:
            begun = None
            continue
        begun = moment.at_s if begun is None else begun
        if moment.at_s - begun >= hold_s:
            return begun
    return None


class _Scored:
    """Which rows of edge Kafka's log the audit log covers, while both grow."""

    def __init__(self) -> None:
        self._up_to: dict[int, int] = defaultdict(int)
        self._waiting: dict[int, deque[tuple[Longs, Longs, Longs]]] = defaultdict(deque)

    def rows(self, partition: int, offsets: Longs, cars: Longs, sampled_at: Longs) -> None:
        self._waiting[partition].append((offsets, cars, sampled_at))

    def audit(self, partition: int, last: int) -> None:
        self._up_to[partition] = max(self._up_to[partition], last + 1)

    def update(self, newest: Longs) -> int:
        """Put the newest samples that were scored into `newest` (cars,); how many rows that were."""
        count = 0
        for partition, waiting in self._waiting.items():
            up_to = self._up_to[partition]
            while waiting and waiting[0][0][0] < up_to:
                offsets, cars, sampled_at = waiting.popleft()
                covered = int(np.searchsorted(offsets, up_to))
                np.maximum.at(newest, cars[:covered], sampled_at[:covered])
                count += covered
                if covered < len(offsets):
                    waiting.appendleft((offsets[covered:], cars[covered:], sampled_at[covered:]))
        return count


class Tail:
    """A reader of the logs on a thread of its own; what it holds is written by that thread only."""

    def __init__(self, edge_bootstrap: str, cloud_bootstrap: str, car_ids: Sequence[str]) -> None:
        self.timeline: list[Moment] = []
        self.rows = dict.fromkeys(STAGES, 0)  # with repetitions; undecodable ones count where they stand
        self._newest = {stage: np.zeros(len(car_ids), np.int64) for stage in STAGES}
        self._arrived: dict[str, list[tuple[Longs, int]]] = {stage: [] for stage in STAGES}
        self._decoder = LogDecoder(car_ids)
        self._scored = _Scored()
        self._readers = {
            "edge": _from_the_start(edge_bootstrap, TELEMETRY),
            "cloud": _from_the_start(cloud_bootstrap, mirrored("edge", TELEMETRY)),
        }
        self._audits = _from_the_start(edge_bootstrap, AUDIT)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tail", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._ended.set()
        self._thread.join(timeout=10)

    @property
    def behind_s(self) -> tuple[float, float, float]:
        """As it is now; infinite before the first look."""
        return self.timeline[-1].behind_s if self.timeline else (float("inf"),) * 3

    def first_arrivals(self, stage: str) -> tuple[Longs, Longs]:
        """(records, when each arrived first, ms since 1970), sorted by record; after `close`."""
        parts = self._arrived[stage]
        record = np.concatenate([np.empty(0, np.int64), *(part for part, _ in parts)])
        at = np.repeat(
            np.array([at for _, at in parts], np.int64), np.array([len(p) for p, _ in parts], np.int64)
        )
        found, first = np.unique(record, return_index=True)
        return found, at[first]

    def _run(self) -> None:
        look_at = 0.0
        while not self._ended.is_set():
            for stage, reader in self._readers.items():
                self._take(stage, [m for m in reader.consume(_BATCH, _WAIT_S) if m.error() is None])
            for message in self._audits.consume(_BATCH, 0):
                if message.error() is None:
                    _, audit = records.decode(message.value() or b"")
                    self._scored.audit(audit["partition"], audit["last_offset"])
            self.rows["scored"] += self._scored.update(self._newest["scored"])
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + _LOOK_EVERY_S
                now_s = time.time()
                behind = [now_s - float(self._newest[stage].min()) / 1000 for stage in STAGES]
                self.timeline.append(Moment(now_s, (behind[0], behind[1], behind[2])))
        for reader in (*self._readers.values(), self._audits):
            reader.close()

    def _take(self, stage: str, messages: list[Any]) -> None:
        if not messages:
            return
        log = self._decoder.decode(messages)
        self.rows[stage] += len(log.record)
        sound = log.record >= 0
        cars = np.where(sound, log.record >> SEQ_BITS, 0)
        sampled_at = np.where(sound, log.sampled_at, 0)
        np.maximum.at(self._newest[stage], cars, sampled_at)
        self._arrived[stage].append((log.record[sound], time.time_ns() // 1_000_000))
        if stage == "edge":
            for partition in np.unique(log.partition).tolist():
                mine = log.partition == partition
                self._scored.rows(partition, log.offset[mine], cars[mine], sampled_at[mine])


def _from_the_start(bootstrap: str, topic: str) -> Consumer:
    consumer = kafka.consumer(bootstrap, group_id="tail", fetch_wait_max_ms=20)
    partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    return consumer
