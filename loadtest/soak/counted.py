"""Counts what reaches the logs while they grow: after hours they no longer hold everything.

Without faults every car's records stand in each log in their order and once, so a count and the newest
sequence number of each car tell whether one is missing or doubled.
"""

import threading
from collections.abc import Sequence

import numpy as np

from contract import records
from contract.topics import AUDIT, TELEMETRY, mirrored
from contract.varints import Longs
from local.ledger import SEQ_BITS, LogDecoder, Published, Stage
from local.watch import reader

_BATCH, _WAIT_S = 5_000, 0.2


class CarCounts:
    """The number of records of each of n cars in one log, and their newest sequence number."""

    def __init__(self, cars: int) -> None:
        self.records = np.zeros(cars, np.int64)
        self.newest = np.zeros(cars, np.int64)
        self.behind = 0  # records that stood behind a newer one of their car, or were there before

    def add(self, record: Longs) -> None:
        """Take in records (m,), car << SEQ_BITS | seq, in the order of the log; -1: not decodable."""
        record = record[record >= 0]
        car, seq = record >> SEQ_BITS, record & ((1 << SEQ_BITS) - 1)
        order = np.argsort(car, kind="stable")
        car, seq = car[order], seq[order]
        before = np.empty_like(seq)
        before[1:] = seq[:-1]
        first = np.ones(len(car), np.bool_)
        first[1:] = car[1:] != car[:-1]
        before[first] = self.newest[car[first]]
        self.behind += int(np.count_nonzero(seq <= before))
        self.records += np.bincount(car, minlength=len(self.records))
        np.maximum.at(self.newest, car, seq)

    def stage(self, name: str, published: Published) -> Stage:
        """The ledger's row: of all that the cars sent."""
        sent = int(published.sent.sum())
        doubled = self.behind
        distinct = int(self.records.sum()) - doubled
        return Stage(name, sent, distinct, doubled, sent - distinct)


class LogCounts:
    """Reads edge and cloud telemetry and the audit log from now on, in a thread of its own."""

    def __init__(self, edge_bootstrap: str, cloud_bootstrap: str, car_ids: Sequence[str]) -> None:
        self.edge, self.cloud = CarCounts(len(car_ids)), CarCounts(len(car_ids))
        self.scored = 0
        self._decoder = LogDecoder(car_ids)
        self._edge = reader(edge_bootstrap, TELEMETRY, AUDIT, fetch_min_bytes=65_536)
        self._cloud = reader(cloud_bootstrap, mirrored("edge", TELEMETRY), fetch_min_bytes=65_536)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()
        self._edge.close()
        self._cloud.close()

    def _follow(self) -> None:
        while not self._ended.is_set():
            for consumer, counts in ((self._edge, self.edge), (self._cloud, self.cloud)):
                messages = [m for m in consumer.consume(_BATCH, _WAIT_S) if m.error() is None]
                audits = [m.value() for m in messages if m.topic() == AUDIT]
                self.scored += sum(records.decode(value)[1]["scored"] for value in audits if value)
                if telemetry := [m for m in messages if m.topic() != AUDIT]:
                    counts.add(self._decoder.decode(telemetry).record)
