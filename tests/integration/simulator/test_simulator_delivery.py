"""The arrow car → MQTT: seq has no gaps, and nothing is lost when the broker or the fleet is killed."""

import itertools
import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.liveness import alive

pytestmark = pytest.mark.integration

CARS = 40
Simulator = Listener = Any  # defined in conftest.py


def assert_all_arrived(simulator: Simulator, listener: Listener) -> None:
    """The listener received every sample that the cars took."""
    expected = {f"car-{car:06d}": sent for car, sent, _ in simulator.published.tolist()}
    assert len(expected) == CARS
    listener.until(
        lambda: {car: max(seen) for car, seen in listener.telemetry.items()} == expected, within_s=10
    )
    assert listener.gaps() == {}


def test_every_car_sends_records_without_gaps_that_any_avro_reader_reads(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener]
) -> None:
    """Without faults every record arrives exactly once, with plausible values, and the end is clean."""
    listener, simulator = listen(), simulate()
    listener.until(lambda: len(listener.telemetry) == CARS and len(listener.records) > CARS * 15, within_s=20)
    assert simulator.end() == 0
    assert_all_arrived(simulator, listener)
    assert all(times == 1 for seen in listener.telemetry.values() for times in seen.values())
    assert (simulator.published["sent"] == simulator.published["acknowledged"]).all()
    assert all(abs(time.time() - record["sampled_at"].timestamp()) < 60 for record in listener.records)
    assert all(0 <= record["speed"] < 60 for record in listener.records)
    assert all(record["control_unit_firmware"] in (1000, 2000) for record in listener.records)
    assert all(-20 < record["motor_temp"] < 160 for record in listener.records)


def test_older_cars_send_an_older_schema_version(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener]
) -> None:
    """With --schema-version 2 records have a vehicle_model, always the same for a car, and no motor_temp."""
    listener, simulator = listen(version=2), simulate("--schema-version", "2")
    listener.until(lambda: len(listener.telemetry) == CARS and len(listener.records) > CARS * 5, within_s=20)
    assert simulator.end() == 0
    assert {record["vehicle_model"] for record in listener.records} <= {"compact", "saloon", "van"}
    assert not any("motor_temp" in record for record in listener.records)
    assert len({(record["car_id"], record["vehicle_model"]) for record in listener.records}) == CARS


def test_in_a_time_lapse_the_cars_drive_on_between_two_samples(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener]
) -> None:
    """A minute of driving per second: between two samples speeds change by more than a car could."""
    listener, simulator = listen(), simulate("--time-lapse", "60")
    listener.until(lambda: len(listener.telemetry) == CARS and len(listener.records) > CARS * 10, within_s=20)
    assert simulator.end() == 0
    speeds: dict[str, list[float]] = {}
    for record in listener.records:
        speeds.setdefault(record["car_id"], []).append(record["speed"])
    jumps = [abs(b - a) for seen in speeds.values() for a, b in itertools.pairwise(seen)]
    assert max(jumps) > 5


def test_several_workers_and_shards_carry_the_same_fleet(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener], mosquitto: Any
) -> None:
    """Three workers, two shards (one broker under two names): every car once, nothing missing."""
    shards = f"{mosquitto.host}:{mosquitto.port},localhost:{mosquitto.port}"
    listener, simulator = listen(), simulate("--processes", "3", brokers=shards)
    listener.until(lambda: len(listener.telemetry) == CARS and len(listener.records) > CARS * 10, within_s=20)
    assert len(simulator.workers()) == 3
    assert simulator.end() == 0
    assert_all_arrived(simulator, listener)


def test_nothing_is_lost_when_the_broker_is_killed(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener], mosquitto: Any
) -> None:
    """After kill -9 of a broker without persistence the cars send their last seconds again; all arrives."""
    listener, simulator = listen(), simulate()
    listener.until(lambda: len(listener.records) > CARS * 10, within_s=20)
    mosquitto.kill()
    time.sleep(1)
    mosquitto.start()
    before = len(listener.records)
    listener.until(lambda: len(listener.records) > before + CARS * 25, within_s=20)
    assert simulator.end() == 0
    assert_all_arrived(simulator, listener)


def test_nothing_is_lost_when_the_fleet_is_killed(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener]
) -> None:
    """After kill -9 of the simulator, twice, seq continues without a gap; workers die with their parent."""
    listener = listen()
    for _ in range(2):
        simulator = simulate()
        before = len(listener.records)
        listener.until(lambda before=before: len(listener.records) > before + CARS * 8, within_s=20)
        workers = simulator.workers()
        simulator.kill()
        listener.until(lambda workers=workers: not any(map(alive, workers)), within_s=5)
    simulator = simulate()
    listener.until(lambda: len(listener.records) > CARS * 30, within_s=20)
    assert simulator.end() == 0
    assert_all_arrived(simulator, listener)


def test_a_worker_that_dies_is_restarted(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener]
) -> None:
    """After kill -9 of one of two workers its cars reconnect and nothing is lost."""
    listener, simulator = listen(), simulate("--processes", "2")
    listener.until(lambda: len(listener.telemetry) == CARS, within_s=20)
    victim = simulator.workers()[0]
    os.kill(victim, signal.SIGKILL)
    listener.until(lambda: len(simulator.workers()) == 2 and victim not in simulator.workers(), within_s=10)
    before = len(listener.records)
    listener.until(lambda: len(listener.records) > before + CARS * 10, within_s=20)
    assert simulator.end() == 0
    assert_all_arrived(simulator, listener)


def test_cars_wait_for_the_first_subscriber(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener]
) -> None:
    """A PUBACK "no matching subscribers" is no delivery: a later subscriber still receives seq 1."""
    simulator = simulate()
    simulator.until(simulator.workers, within_s=20)
    simulator.until(lambda: simulator.counts().refused >= 2 * CARS, within_s=20)
    listener = listen()
    listener.until(lambda: len(listener.telemetry) == CARS, within_s=20)
    assert simulator.end() == 0
    assert_all_arrived(simulator, listener)


def test_without_a_broker_the_simulator_ends_within_its_deadline(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener], mosquitto: Any
) -> None:
    """SIGTERM while the broker is down: it ends in time with status 1; the next start delivers the rest."""
    listener, simulator = listen(), simulate("--drain-s", "2")
    listener.until(lambda: len(listener.telemetry) == CARS, within_s=20)
    mosquitto.kill()
    time.sleep(1)
    assert simulator.end(within_s=10) == 1
    assert (simulator.published["sent"] > simulator.published["acknowledged"]).any()
    mosquitto.start()
    simulator = simulate()
    before = len(listener.records)
    listener.until(lambda: len(listener.records) > before + CARS * 5, within_s=20)
    assert simulator.end() == 0
    assert_all_arrived(simulator, listener)


def test_workshop_reports_arrive_and_match_the_truth(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener]
) -> None:
    """Failed and repaired components are reported; after a kill at most the report in flight comes twice."""
    wear = ("--faulty-share", "0.5", "--ageing", "40000", "--fault-spread-h", "10")
    listener, simulator = listen(), simulate(*wear)
    listener.until(lambda: len(listener.maintenance) > 10, within_s=30)
    simulator.kill()
    simulator = simulate(*wear)
    before = len(listener.maintenance)
    listener.until(lambda: len(listener.maintenance) > before + 10, within_s=30)
    assert simulator.end() == 0
    repeated = [count for count in listener.reports.values() if count > 1]
    assert repeated in ([], [2])
    truth = {
        (fault["car_id"], fault["component"], action, fault[f"{action}_at"])
        for fault in json.loads((simulator.run_dir / "truth.json").read_text())
        for action in ("failed", "repaired")
    }
    for report in listener.maintenance:
        at = int(report["occurred_at"].timestamp() * 1000 + 0.5)
        assert (report["car_id"], report["component"], report["action"], at) in truth
        assert report["reported_at"] > report["occurred_at"]


def test_the_run_folder_of_another_fleet_is_refused(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener]
) -> None:
    """Another seed or a second simulator in the same run folder: status 2, and no file is changed."""
    listener, simulator = listen(), simulate()
    listener.until(lambda: len(listener.telemetry) == CARS, within_s=20)
    assert simulator.end() == 0
    before = {path.name: path.read_bytes() for path in simulator.run_dir.iterdir()}
    assert simulate("--seed", "2").process.wait(20) == 2
    assert {path.name: path.read_bytes() for path in simulator.run_dir.iterdir()} == before
    first = simulate()
    first.until(first.workers, within_s=20)
    assert simulate().process.wait(20) == 2


def test_all_connections_cut_at_once_lose_nothing(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener]
) -> None:
    """On SIGUSR1 both workers drop all connections without DISCONNECT; cars reconnect, nothing is lost."""
    listener, simulator = listen(), simulate("--processes", "2")
    listener.until(lambda: len(listener.telemetry) == CARS, within_s=20)
    listener.until(lambda: simulator.counts().connected == CARS + 2, within_s=10)
    os.kill(simulator.process.pid, signal.SIGUSR1)
    listener.until(lambda: simulator.counts().lost_connections == CARS + 2, within_s=5)
    listener.until(lambda: simulator.counts().connected == CARS + 2, within_s=10)
    assert (simulator.counts().connections, simulator.counts().sessions_lost) == (2 * (CARS + 2), 0)
    before = len(listener.records)
    listener.until(lambda: len(listener.records) > before + CARS * 10, within_s=20)
    assert simulator.end() == 0
    assert_all_arrived(simulator, listener)


def test_sigusr1_during_the_start_does_not_kill_the_workers(simulate: Callable[..., Simulator]) -> None:
    """Workers that have not installed the switch yet keep the signal blocked."""
    simulator = simulate("--processes", "2")
    simulator.until(lambda: len(simulator.workers()) == 2, within_s=20)
    first = simulator.workers()
    os.kill(simulator.process.pid, signal.SIGUSR1)
    simulator.until(lambda: simulator.counts().connected == CARS + 2, within_s=20)
    assert simulator.workers() == first
