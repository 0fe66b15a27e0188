"""Figures of a scale run: rates, quantiles of histograms, bars."""

from types import SimpleNamespace
from typing import Any

import pytest

from loadtest.scale.results import barred_figures
from loadtest.scale.timeline import STAGES, Point, Timeline, histogram, quantile
from local.observer import _cars_connected


def _picture(total: int) -> Any:
    rows = [SimpleNamespace(total=total, waiting=10 * number) for number in range(len(STAGES))]
    return SimpleNamespace(cars_connected=5, rows=rows, memory_mib=1.0)


def _metrics(slow: int) -> dict[str, dict[str, float]]:
    name = "simulator_puback_seconds_bucket"
    counts = {
        f"{name}{{le=0.01}}": 100.0,
        f"{name}{{le=0.1}}": 100.0 + slow,
        f"{name}{{le=+Inf}}": 100.0 + slow,
    }
    return {"simulator": counts, "scorer": {}, "bridge": {"bridge_in_flight_messages": 4.0}}


def test_only_messages_between_two_observations_count():
    """Rates and PUBACK latencies of the hold leave the ramp-up out."""
    timeline = Timeline()
    for at_s, total, slow in ((0.0, 0, 0), (10.0, 1_000, 10), (20.0, 6_000, 20)):
        timeline.points.append(Point(at_s, _picture(total), _metrics(slow)))
    held = timeline.between(10, 20)
    assert set(held.rates().values()) == {500.0}
    assert held.latency("puback").count == 10
    assert held.latency("puback").p50_ms == pytest.approx(55)
    assert (held.mean_waiting("scored"), held.mean_in_bridge()) == (20, 4)


def test_a_timeline_of_one_observation_has_no_rate():
    """So it is for a fleet that never connected."""
    timeline = Timeline()
    timeline.points.append(Point(1.0, _picture(3), _metrics(0)))
    assert set(timeline.rates().values()) == {0.0}
    assert timeline.latency("puback").p99_ms is None


def test_buckets_are_in_ascending_order():
    """They are ordered as numbers, not as text, with infinity last."""
    scraped = {
        "a_bucket{le=10.0}": 3.0,
        "a_bucket{le=+Inf}": 4.0,
        "a_bucket{le=2.0}": 1.0,
        "b_bucket{le=1.0}": 9.0,
    }
    assert list(histogram(scraped, "a_bucket").items()) == [(2.0, 1.0), (10.0, 3.0), (float("inf"), 4.0)]


def test_a_quantile_beyond_the_last_bound_is_that_bound():
    """That is a lower bound of it; an empty histogram has no quantile."""
    counts = {0.1: 1.0, float("inf"): 100.0}
    assert quantile(counts, 0.99) == 100.0
    assert quantile(counts, 0.005) == 50.0
    assert quantile({0.1: 0.0}, 0.5) is None


def test_connections_of_workshops_are_not_counted_as_cars():
    """Each worker process has one workshop beside its cars."""
    assert _cars_connected({"simulator_connected_clients": 102.0, "simulator_workers": 2.0}) == 100
    assert _cars_connected({"simulator_workers": 2.0}) == 0


def test_a_lost_record_and_a_low_rate_miss_their_bars():
    """The rate must reach 99 % of the rate asked for."""
    summary = {
        "cars": 10, "connected": 10, "seconds_to_connect": 5.0, "rate_asked": 100.0, "rate_msgs_per_s": 98.0,
        "lost": 1, "car_to_anomaly_ms": {"p50": 30.0, "p99": 90.0}, "simulator_bytes_per_car": 1_500,
        "memory_mib": {"all": 2_000},
    }  # fmt: skip
    missed = [bar["what"] for bar in barred_figures(summary) if not bar["met"]]
    assert missed == ["messages a second at every stage", "records lost at any stage"]
