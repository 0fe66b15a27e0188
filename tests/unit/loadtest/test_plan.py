"""The sizes for a fleet, from measured runs."""

from pathlib import Path

import pytest

from loadtest.plan import costs, needs, partitions
from loadtest.plan.costs import COMPONENTS, Cost, MeasuredRun


def _run(rate: float, cars: int, processes: int = 2) -> MeasuredRun:
    return MeasuredRun(
        cars=cars,
        rate=rate,
        processes=dict.fromkeys(COMPONENTS, processes),
        cores=dict.fromkeys(COMPONENTS, 0.05 * processes + 2e-05 * rate),
        memory_mib=dict.fromkeys(COMPONENTS, 40.0 * processes + 0.002 * cars),
    )


def test_the_fit_recovers_the_costs_that_the_runs_were_made_with():
    """A base for each process, and a cost for each message or car."""
    cost = costs.fit([_run(2_000, 10_000), _run(10_000, 50_000)])["bridge"]
    assert cost.base_cores == pytest.approx(0.05)
    assert cost.cores_per_message == pytest.approx(20e-6)
    assert cost.cores(1, 5_000) == pytest.approx(0.15)
    assert cost.memory_mib(1, 100_000) == pytest.approx(240)


def test_with_one_fleet_size_all_memory_belongs_to_the_processes():
    """The cost of a car cannot be told from it, so it is 0."""
    cost = costs.fit([_run(2_000, 1_000), _run(10_000, 1_000)])["scorer"]
    assert (cost.base_mib, cost.mib_per_car) == (pytest.approx(41), 0)


def test_the_memory_of_a_jvm_does_not_grow_with_cars():
    """Its heap fills with time, not with cars."""
    cost = costs.fit([_run(2_000, 1_000), _run(10_000, 50_000)])["edge"]
    assert cost.mib_per_car == 0
    assert 41 < cost.base_mib < 90


def test_runs_at_one_rate_are_refused():
    """A line needs two points; the message says so."""
    with pytest.raises(ValueError, match="two rates"):
        costs.fit([_run(2_000, 1_000), _run(2_000, 1_000)])


def test_shards_follow_from_connections_and_messages_and_scorers_from_messages():
    """Each process stays below its share of a core, and one scorer is spare."""
    cost = dict.fromkeys(COMPONENTS, Cost(0.0, 20e-6, 40.0, 0.002))
    many = {need.component: need for need in needs(100_000, 1.0, cost, cars_per_shard=50_000)}
    assert many["mqtt"].replicas == 4  # 2 would hold the connections, but not the messages
    assert many["scorer"].replicas == 5
    assert many["edge"].cores == pytest.approx(2.0)
    few = {need.component: need for need in needs(100_000, 0.01, cost, cars_per_shard=20_000)}
    assert (few["mqtt"].replicas, few["bridge"].replicas) == (5, 1)


def test_partitions_leave_room_for_more_scorers():
    """Their number should never change, because it decides where a car's key goes."""
    assert (partitions(2), partitions(10)) == (12, 20)


def test_the_package_has_measured_runs():
    """The file can be read and fitted, and says where it was measured."""
    about, runs = costs.read()
    assert about["date"]
    assert about["machine"]
    assert all(cost.cores(1, 10_000) > 0 for cost in costs.fit(runs).values())


def test_the_error_for_a_broken_file_names_the_command_that_writes_one(tmp_path: Path):
    """`plan --measure` does."""
    path = tmp_path / "measured.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="plan --measure"):
        costs.read(path)


def test_written_runs_are_read_back_unchanged(tmp_path: Path):
    """A file of measured runs keeps every figure."""
    runs = [_run(1_000, 500), _run(2_000, 500)]
    costs.write(tmp_path / "m.json", {"date": "today", "machine": "this"}, runs)
    assert costs.read(tmp_path / "m.json")[1] == runs
