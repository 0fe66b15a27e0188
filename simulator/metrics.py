"""What the fleet counts. Workers count in a table that they share with their parent, which serves the sum."""

import bisect
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from prometheus_client import Counter, Gauge, Histogram

PUBACK_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

samples = Counter("simulator_samples", "Samples taken, each a record that must arrive")
skipped = Counter(
    "simulator_samples_skipped", "Samples not taken: the car's ring was full, nothing acknowledged"
)
published = Counter("simulator_published_messages", "Telemetry messages sent for the first time")
resent = Counter("simulator_resent_messages", "Telemetry messages sent again")
acknowledged = Counter(
    "simulator_acknowledged_messages", "Telemetry messages acknowledged, each counted once"
)
refused = Counter("simulator_refused_messages", "PUBACKs that say no, or that nobody subscribes; sent again")
unexpected = Counter("simulator_unexpected_pubacks", "PUBACKs of nothing that was waiting for one")
reports = Counter("simulator_workshop_reports", "Workshop reports acknowledged")
ticks = Counter("simulator_ticks", "Groups of cars sampled")
late_ticks = Counter("simulator_late_ticks", "Groups of cars sampled more than one tick too late")
missed_ticks = Counter("simulator_missed_ticks", "Groups of cars not sampled: a whole period too late")
connections = Counter("simulator_connections", "Connections that the brokers accepted")
connection_losses = Counter("simulator_connection_losses", "Connections that ended unasked")
refused_connections = Counter("simulator_refused_connections", "Connections that a broker refused")
cuts = Counter("simulator_cuts", "Times that all connections were cut on request (SIGUSR1)")
sessions_lost = Counter("simulator_sessions_lost", "Connections where the broker had forgotten the car")
worker_cpu = Counter("simulator_worker_cpu_seconds", "CPU time of the workers, user and system")
worker_restarts = Counter("simulator_worker_restarts", "Workers that died and were started again")
cars = Gauge("simulator_cars", "Cars of the fleet")
workers = Gauge("simulator_workers", "Worker processes of the fleet")
connected = Gauge(
    "simulator_connected_clients", "MQTT connections that are up now: cars, and a workshop a worker"
)
unacknowledged = Gauge("simulator_unacknowledged_messages", "Samples taken and not yet acknowledged")
puback = Histogram("simulator_puback_seconds", "From taking a sample to its PUBACK", buckets=PUBACK_BUCKETS_S)

# Which field of a worker's tally each of them sums up.
_COUNTERS = {
    "sampled": samples,
    "skipped": skipped,
    "published": published,
    "resent": resent,
    "acknowledged": acknowledged,
    "refused": refused,
    "unexpected": unexpected,
    "reports": reports,
    "ticks": ticks,
    "late_ticks": late_ticks,
    "missed_ticks": missed_ticks,
    "connections": connections,
    "lost_connections": connection_losses,
    "refused_connections": refused_connections,
    "sessions_lost": sessions_lost,
}
_GAUGES = {"connected": connected, "unacknowledged": unacknowledged}


@dataclass
class Tally:
    """The counts of one worker."""

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
    cpu_us: int = 0
    connected: int = 0
    unacknowledged: int = 0
    beat_ms: int = 0  # when the worker's loop came round last, ms since 1970
    puback_us: int = 0
    puback_counts: list[int] = field(default_factory=lambda: [0] * (len(PUBACK_BUCKETS_S) + 1))

    def answered(self, seconds: float) -> None:
        """One PUBACK came so long after its sample."""
        self.puback_us += int(seconds * 1e6)
        self.puback_counts[bisect.bisect_left(PUBACK_BUCKETS_S, seconds)] += 1


_SCALARS = [f.name for f in fields(Tally) if f.name != "puback_counts"]
_COLUMNS = len(_SCALARS) + len(PUBACK_BUCKETS_S) + 1


class Table:
    """The tallies of all workers in a file that they share; outlives a worker, so counters never go back."""

    def __init__(self, path: Path, workers: int, *, new: bool = False) -> None:
        shape, mode = (workers, _COLUMNS), "w+" if new else "r+"
        self._rows = np.asarray(np.memmap(path, np.int64, mode, shape=shape))  # type: ignore[call-overload]

    def load(self, worker: int) -> Tally:
        """What this worker's predecessor had counted; nothing is connected yet."""
        row = self._rows[worker].tolist()
        tally = Tally(**dict(zip(_SCALARS, row, strict=False)), puback_counts=row[len(_SCALARS) :])
        tally.connected = 0
        return tally

    def store(self, worker: int, tally: Tally) -> None:
        """Show the counts to the parent."""
        self._rows[worker] = [getattr(tally, name) for name in _SCALARS] + tally.puback_counts

    def total(self) -> Tally:
        """The sum over the workers (of `beat_ms`: the oldest)."""
        row = self._rows.sum(axis=0).tolist()
        tally = Tally(**dict(zip(_SCALARS, row, strict=False)), puback_counts=row[len(_SCALARS) :])
        tally.beat_ms = int(self._rows[:, _SCALARS.index("beat_ms")].min())
        return tally


class Sum:
    """Brings the workers' counts into the parent's metrics."""

    def __init__(self, table: Table) -> None:
        self._table, self._before = table, Tally()

    def update(self) -> Tally:
        """Add what was counted since the last time. Returns the sum over the workers."""
        now, before = self._table.total(), self._before
        for name, counter in _COUNTERS.items():
            counter.inc(getattr(now, name) - getattr(before, name))
        for name, gauge in _GAUGES.items():
            gauge.set(getattr(now, name))
        worker_cpu.inc((now.cpu_us - before.cpu_us) / 1e6)
        self._add_pubacks(now, before)
        self._before = now
        return now

    def _add_pubacks(self, now: Tally, before: Tally) -> None:
        # The library observes one value at a time; the workers have sorted them into the same buckets.
        puback._sum.inc((now.puback_us - before.puback_us) / 1e6)
        for bucket, count, counted in zip(
            puback._buckets, now.puback_counts, before.puback_counts, strict=True
        ):
            bucket.inc(count - counted)
