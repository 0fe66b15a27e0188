"""What the fleet counts. Workers count in a table that they share with their parent, which serves the sum."""

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

PUBACK_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# Names as in Prometheus (counters end in _total there) and what they mean. Keys: the fields of Tally.
COUNTERS = {
    "sampled": ("simulator_samples", "Samples taken, each a record that must arrive"),
    "skipped": (
        "simulator_samples_skipped",
        "Samples not taken: the car's ring was full, nothing acknowledged",
    ),
    "published": ("simulator_published_messages", "Telemetry messages sent for the first time"),
    "resent": ("simulator_resent_messages", "Telemetry messages sent again"),
    "acknowledged": ("simulator_acknowledged_messages", "Telemetry messages acknowledged, each counted once"),
    "refused": ("simulator_refused_messages", "PUBACKs that say no (or that nobody subscribes); sent again"),
    "unexpected": ("simulator_unexpected_pubacks", "PUBACKs of nothing that was waiting for one"),
    "reports": ("simulator_workshop_reports", "Workshop reports acknowledged"),
    "ticks": ("simulator_ticks", "Groups of cars sampled"),
    "late_ticks": ("simulator_late_ticks", "Groups of cars sampled more than one tick too late"),
    "missed_ticks": ("simulator_missed_ticks", "Groups of cars not sampled: a whole period too late"),
    "connections": ("simulator_connections", "Connections that the brokers accepted"),
    "lost_connections": ("simulator_connection_losses", "Connections that ended unasked"),
    "refused_connections": ("simulator_refused_connections", "Connections that a broker refused"),
    "sessions_lost": ("simulator_sessions_lost", "Connections where the broker had forgotten the car"),
}
GAUGES = {
    "connected": ("simulator_connected_clients", "MQTT connections that are up now: cars and workshops"),
    "unacknowledged": ("simulator_unacknowledged_messages", "Samples taken and not yet acknowledged"),
}
PUBACK = ("simulator_puback_seconds", "From taking a sample to its PUBACK")
CPU = ("simulator_worker_cpu_seconds", "CPU time of the workers, user and system")
OF_PARENT = {
    "cars": ("simulator_cars", "Cars of the fleet"),
    "workers": ("simulator_workers", "Worker processes that run"),
    "restarts": ("simulator_worker_restarts", "Workers that died and were started again"),
}


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

    def puback(self, seconds: float) -> None:
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


@dataclass(eq=False)  # the registry keeps it in a dict
class FleetCollector(Collector):
    """Serves the table to Prometheus."""

    table: Table
    cars: int
    workers: int = 0
    restarts: int = 0

    def collect(self) -> Iterable[Metric]:
        """One family a metric, summed over the workers."""
        total = self.table.total()
        for key, (name, text) in COUNTERS.items():
            yield CounterMetricFamily(name, text, getattr(total, key))
        for key, (name, text) in GAUGES.items():
            yield GaugeMetricFamily(name, text, getattr(total, key))
        yield CounterMetricFamily(*CPU, total.cpu_us / 1e6)
        yield GaugeMetricFamily(*OF_PARENT["cars"], self.cars)
        yield GaugeMetricFamily(*OF_PARENT["workers"], self.workers)
        yield CounterMetricFamily(*OF_PARENT["restarts"], self.restarts)
        counts = np.cumsum(total.puback_counts).tolist()
        bounds = [*map(str, PUBACK_BUCKETS_S), "+Inf"]
        yield HistogramMetricFamily(
            *PUBACK, buckets=list(zip(bounds, counts, strict=True)), sum_value=total.puback_us / 1e6
        )
