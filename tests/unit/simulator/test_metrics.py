"""The counts of the fleet: stored by the workers, summed by the parent, never decreasing."""

from dataclasses import fields
from pathlib import Path

from prometheus_client import REGISTRY

from simulator import metrics
from simulator.metrics import CountsTable, WorkerCounts


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_the_parent_shows_the_sum_of_its_workers(tmp_path: Path) -> None:
    """The counts of two workers appear once, as one sum per metric, with the histogram of their PUBACKs."""
    table = CountsTable(tmp_path / "counts", 2, new=True)
    before = {
        name: value(name) for name in ("simulator_published_messages_total", "simulator_puback_seconds_count")
    }
    for worker, (published, connected) in enumerate([(3, 10), (4, 20)]):
        counts = WorkerCounts(published=published, connected=connected)
        counts.add_puback(0.003)
        counts.add_puback(99.0)
        CountsTable(tmp_path / "counts", 2).store(worker, counts)
        table.update_metrics()
    table.update_metrics()
    assert value("simulator_published_messages_total") == before["simulator_published_messages_total"] + 7
    assert value("simulator_connected_clients") == 30
    assert value("simulator_puback_seconds_count") == before["simulator_puback_seconds_count"] + 4
    assert value("simulator_puback_seconds_bucket", le="0.0025") == 0
    assert value("simulator_puback_seconds_bucket", le="0.005") == 2


def test_a_restarted_worker_counts_on(tmp_path: Path) -> None:
    """The counters continue from those of the dead worker; its connections do not count any more."""
    table = CountsTable(tmp_path / "counts", 1, new=True)
    dead = WorkerCounts(published=5, connected=7)
    dead.add_puback(0.2)
    table.store(0, dead)
    heir = table.load(0)
    assert (heir.published, heir.connected, sum(heir.puback_counts)) == (5, 0, 1)


def test_every_count_is_served() -> None:
    """A field of WorkerCounts has a metric of its name, or is one of the few served differently."""
    served = metrics._SUMMED.keys() | {"cpu_us", "beat_ms", "puback_us", "puback_counts"}
    assert {field.name for field in fields(WorkerCounts)} == served
