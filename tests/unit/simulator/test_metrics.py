"""The fleet's counts: shared by the workers, summed by the parent, never going back."""

from dataclasses import fields
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from simulator.metrics import COUNTERS, GAUGES, FleetCollector, Table, Tally


def test_the_parent_serves_the_sum_of_its_workers(tmp_path: Path) -> None:
    """Two workers' counts appear as one number a metric, with a cumulative histogram."""
    table = Table(tmp_path / "counts", 2, new=True)
    for worker, (published, connected) in enumerate([(3, 10), (4, 20)]):
        tally = Tally(published=published, connected=connected)
        tally.puback(0.003)
        tally.puback(99.0)
        Table(tmp_path / "counts", 2).store(worker, tally)
    registry = CollectorRegistry()
    registry.register(FleetCollector(table, cars=30, workers=2))
    page = generate_latest(registry).decode()
    assert "simulator_published_messages_total 7.0" in page
    assert "simulator_connected_clients 30.0" in page
    assert 'simulator_puback_seconds_bucket{le="0.0025"} 0.0' in page
    assert 'simulator_puback_seconds_bucket{le="0.005"} 2.0' in page
    assert "simulator_puback_seconds_count 4.0" in page


def test_a_restarted_worker_counts_on(tmp_path: Path) -> None:
    """Counters go on where the dead worker left them; its connections are gone."""
    table = Table(tmp_path / "counts", 1, new=True)
    dead = Tally(published=5, connected=7)
    dead.puback(0.2)
    table.store(0, dead)
    heir = table.load(0)
    assert (heir.published, heir.connected, sum(heir.puback_counts)) == (5, 0, 1)


def test_every_count_is_served() -> None:
    """A field of the tally is a counter, a gauge, or one of the few that are served another way."""
    served = COUNTERS.keys() | GAUGES.keys() | {"cpu_us", "beat_ms", "puback_us", "puback_counts"}
    assert {field.name for field in fields(Tally)} == served
