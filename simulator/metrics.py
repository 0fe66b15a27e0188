"""Metrics of the fleet. Workers count in a file that they share with the parent, which serves the sum."""

import bisect
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter, Gauge, Histogram

PUBACK_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

sampled = Counter("simulator_samples", "Samples taken; each must arrive as a record")
skipped = Counter("simulator_samples_skipped", "Samples not taken: too many of the car are unacknowledged")
published = Counter("simulator_published_messages", "Telemetry messages sent for the first time")
resent = Counter("simulator_resent_messages", "Telemetry messages sent again")
acknowledged = Counter("simulator_acknowledged_messages", "Telemetry messages acknowledged, counted once")
refused = Counter("simulator_refused_messages", "PUBACKs with an error or no subscriber; sent again")
unexpected = Counter("simulator_unexpected_pubacks", "PUBACKs for which no message was in flight")
reports = Counter("simulator_workshop_reports", "Workshop reports acknowledged")
ticks = Counter("simulator_ticks", "Groups of cars sampled")
late_ticks = Counter("simulator_late_ticks", "Groups of cars sampled more than one tick too late")
missed_ticks = Counter("simulator_missed_ticks", "Groups of cars not sampled: a whole period too late")
connections = Counter("simulator_connections", "Connections that the brokers accepted")
lost_connections = Counter("simulator_connection_losses", "Connections lost without having been closed")
refused_connections = Counter("simulator_refused_connections", "Connections that a broker refused")
cuts = Counter("simulator_cuts", "Times that all connections were cut on request (SIGUSR1)")
sessions_lost = Counter("simulator_sessions_lost", "Connections whose broker had lost the session of the car")
worker_cpu = Counter("simulator_worker_cpu_seconds", "CPU time of the workers, user and system")
worker_restarts = Counter("simulator_worker_restarts", "Workers that died and were restarted")
cars = Gauge("simulator_cars", "Cars of the fleet")
workers = Gauge("simulator_workers", "Worker processes of the fleet")
connected = Gauge("simulator_connected_clients", "Open MQTT connections: cars, and a workshop per worker")
unacknowledged = Gauge("simulator_unacknowledged_messages", "Samples taken and not yet acknowledged")
puback = Histogram("simulator_puback_seconds", "Time from a sample to its PUBACK", buckets=PUBACK_BUCKETS_S)


@dataclass
class WorkerCounts:
    """The counts of one worker. A metric above with the name of a field is its sum over the workers."""

    sampled: int = 0
    skipped: int = 0
    published: int = 0
    resent: int = 0
    acknowledged: int = 0
    refused: int = 0
    unexpected: int = 0
    reports: int = 0
    ticks: int = 0
    late_ticks: int = 0
    missed_ticks: int = 0
    connections: int = 0
    lost_connections: int = 0
    refused_connections: int = 0
    sessions_lost: int = 0
    connected: int = 0
    unacknowledged: int = 0
    cpu_us: int = 0  # CPU time, user and system
    beat_ms: int = 0  # last time that the worker's loop ran, ms since 1970
    puback_us: int = 0  # sum of the times in puback_counts
    puback_counts: list[int] = field(default_factory=lambda: [0] * (len(PUBACK_BUCKETS_S) + 1))

    def add_puback(self, seconds: float) -> None:
        """Count one PUBACK that came this long after its sample."""
        self.puback_us += int(seconds * 1e6)
        self.puback_counts[bisect.bisect_left(PUBACK_BUCKETS_S, seconds)] += 1


_SCALARS = [f.name for f in fields(WorkerCounts) if f.name != "puback_counts"]
_SUMMED = {name: metric for name, metric in globals().items() if name in _SCALARS}
_COLUMNS = len(_SCALARS) + len(PUBACK_BUCKETS_S) + 1


class CountsTable:
    """The counts of all workers in a shared file. It outlives a worker, so counters never decrease.

    A last row holds a single number, `cut_requests`.
    """

    cut_requests: NDArray[np.int64]  # (1,) how often the parent was asked to cut all connections

    def __init__(self, path: Path, workers: int, *, new: bool = False) -> None:
        shape, mode = (workers + 1, _COLUMNS), "w+" if new else "r+"
        table = np.asarray(np.memmap(path, np.int64, mode, shape=shape))  # type: ignore[call-overload]
        self._rows, self.cut_requests = table[:-1], table[-1, :1]
        self._before, self._cuts_before = WorkerCounts(), 0

    def load(self, worker: int) -> WorkerCounts:
        """The counts of this worker's predecessor, without its connections."""
        counts = _from_row(self._rows[worker].tolist())
        counts.connected = 0
        return counts

    def store(self, worker: int, counts: WorkerCounts) -> None:
        """Publish the counts to the parent."""
        self._rows[worker] = [getattr(counts, name) for name in _SCALARS] + counts.puback_counts

    def total(self) -> WorkerCounts:
        """The sum over the workers; beat_ms is the oldest one."""
        counts = _from_row(self._rows.sum(axis=0).tolist())
        counts.beat_ms = int(self._rows[:, _SCALARS.index("beat_ms")].min())
        return counts

    def update_metrics(self) -> WorkerCounts:
        """Add what was counted since the last call to the metrics. Returns the sum over the workers."""
        now, before = self.total(), self._before
        for name, metric in _SUMMED.items():
            if isinstance(metric, Gauge):
                metric.set(getattr(now, name))
            else:
                metric.inc(getattr(now, name) - getattr(before, name))
        worker_cpu.inc((now.cpu_us - before.cpu_us) / 1e6)
        # The library can only observe single values; the workers count in the same buckets.
        puback._sum.inc((now.puback_us - before.puback_us) / 1e6)
        for bucket, count, counted in zip(
            puback._buckets, now.puback_counts, before.puback_counts, strict=True
        ):
            bucket.inc(count - counted)
        requested = int(self.cut_requests[0])
        cuts.inc(requested - self._cuts_before)
        self._before, self._cuts_before = now, requested
        return now


def _from_row(row: list[int]) -> WorkerCounts:
    return WorkerCounts(**dict(zip(_SCALARS, row, strict=False)), puback_counts=row[len(_SCALARS) :])
