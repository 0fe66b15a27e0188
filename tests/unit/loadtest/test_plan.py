"""What a fleet takes, from measured runs."""

from pathlib import Path

import pytest

from loadtest import costs
from loadtest.costs import COMPONENTS, Cost, Measured
from loadtest.plan import needs, partitions


def _run(rate: float, cars: int, processes: int = 2) -> Measured:
    return Measured(
        cars=cars,
        rate=rate,
        processes=dict.fromkeys(COMPONENTS, processes),
        cores=dict.fromkeys(COMPONENTS, 0.05 * processes + 2e-05 * rate),
        memory_mib=dict.fromkeys(COMPONENTS, 40.0 * processes + 0.002 * cars),
    )


def test_the_fit_finds_what_the_runs_were_made_of():
    """A base a process, and a cost a message, or a car."""
    cost = costs.fit([_run(2_000, 10_000), _run(10_000, 50_000)])["bridge"]
    assert cost.base_cores == pytest.approx(0.05)
    assert cost.cores_per_message == pytest.approx(20e-6)
    assert cost.cores(1, 5_000) == pytest.approx(0.15)
    assert cost.memory_mib(1, 100_000) == pytest.approx(240)


def test_runs_of_one_size_still_give_a_memory():
    """Then it belongs to the processes."""
    cost = costs.fit([_run(2_000, 1_000), _run(10_000, 1_000)])["scorer"]
    assert (cost.base_mib, cost.mib_per_car) == (pytest.approx(41), 0)


def test_the_memory_of_a_jvm_does_not_grow_with_cars():
    """What filled its heap between two runs was time."""
    cost = costs.fit([_run(2_000, 1_000), _run(10_000, 50_000)])["edge"]
    assert cost.mib_per_car == 0
    assert 41 < cost.base_mib < 90


def test_one_rate_is_no_line():
    """The message says what is missing."""
    with pytest.raises(ValueError, match="two rates"):
        costs.fit([_run(2_000, 1_000), _run(2_000, 1_000)])


def test_connections_ask_for_shards_and_messages_for_scorers():
    """Each process stays below its share of a core, and one scorer is to spare."""
    cost = dict.fromkeys(COMPONENTS, Cost(0.0, 20e-6, 40.0, 0.002))
    found = {need.component: need for need in needs(100_000, 1.0, cost, cars_per_shard=50_000)}
    assert found["mqtt"].replicas == 4  # 2 would hold the connections, but not the messages
    assert found["scorer"].replicas == 5
    assert found["edge"].cores == pytest.approx(2.0)
    few = {need.component: need for need in needs(100_000, 0.01, cost, cars_per_shard=20_000)}
    assert (few["mqtt"].replicas, few["bridge"].replicas) == (5, 1)


def test_partitions_leave_room_for_more_scorers():
    """They must never change under a key."""
    assert (partitions(2), partitions(10)) == (12, 20)


def test_the_measured_runs_are_there():
    """The file that comes with the package can be read, fitted, and says where it was measured."""
    about, runs = costs.read()
    assert about["date"]
    assert about["machine"]
    assert all(cost.cores(1, 10_000) > 0 for cost in costs.fit(runs).values())


def test_a_broken_file_says_how_to_make_one(tmp_path: Path):
    """With the command."""
    path = tmp_path / "measured.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="plan --measure"):
        costs.read(path)


def test_runs_survive_the_file(tmp_path: Path):
    """What is written is read again."""
    runs = [_run(1_000, 500), _run(2_000, 500)]
    costs.write(tmp_path / "m.json", {"date": "today", "machine": "this"}, runs)
    assert costs.read(tmp_path / "m.json")[1] == runs
