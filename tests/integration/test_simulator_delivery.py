"""The arrow car → MQTT: every car's seq is gapless, nothing is lost when the broker or the fleet is killed.

The listener is paho-mqtt, a second and independent implementation; payloads are read with fastavro alone.
"""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

pytestmark = pytest.mark.integration

SCHEMAS = Path(__file__).parents[2] / "contract" / "schemas"
SCHEMA = {
    v: fastavro.parse_schema(json.loads((SCHEMAS / f"telemetry.v{v}.avsc").read_text())) for v in (1, 2)
}
MAINTENANCE = fastavro.parse_schema(json.loads((SCHEMAS / "maintenance.v1.avsc").read_text()))
CARS = 40


def poll_until(holds: Callable[[], bool], within_s: float) -> None:
    """Wait for `holds`; fails after within_s."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, f"not within {within_s} s"
        time.sleep(0.05)


class Listener:
    """Subscribes to everything with a session of its own, and keeps what arrived."""

    def __init__(self, host: str, port: int, version: int = 1) -> None:
        self.telemetry: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.records: list[dict[str, Any]] = []
        self.reports: Counter[str] = Counter()
        self.maintenance: list[dict[str, Any]] = []
        self.subscribed = False
        self._schema = SCHEMA[version]
        self._client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id="listener", protocol=paho.MQTTv5
        )
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: setattr(self, "subscribed", True)
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(1, 1)
        kept = Properties(PacketTypes.CONNECT)
        kept.SessionExpiryInterval = 600
        self._client.connect(host, port, clean_start=False, properties=kept)
        self._client.loop_start()
        poll_until(lambda: self.subscribed, 5)

    def _on_connect(self, client: paho.Client, *_: Any) -> None:
        client.subscribe([("fleet/v1/+/telemetry", 1), ("fleet/v1/+/maintenance", 1)])

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        _, _, car, kind = message.topic.split("/")
        body = io.BytesIO(message.payload[10:])
        if kind == "maintenance":
            report = dict(fastavro.schemaless_reader(body, MAINTENANCE, None))
            self.reports[report["report_id"]] += 1
            self.maintenance.append(report)
            return
        record = dict(fastavro.schemaless_reader(body, self._schema, None))
        assert record["car_id"] == car
        self.telemetry[car][record["seq"]] += 1
        self.records.append(record)

    def gaps(self) -> dict[str, list[int]]:
        """Car to the seqs below its highest that never arrived."""
        missing = {
            car: sorted(set(range(1, max(seen))) - seen.keys()) for car, seen in self.telemetry.items()
        }
        return {car: seqs for car, seqs in missing.items() if seqs}

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Simulator:
    """A fleet as a process, and what its run folder says of it."""

    def __init__(self, run_dir: Path, brokers: str, *flags: str) -> None:
        self.run_dir = run_dir
        command = [sys.executable, "-m", "simulator", "--mqtt-brokers", brokers, "--run-dir", str(run_dir)]
        self.process = subprocess.Popen([*command, "--cars", str(CARS), "--rate-hz", "5", *flags])

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def end(self, within_s: float = 20.0) -> int:
        self.process.terminate()
        return self.process.wait(within_s)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def published(self) -> np.ndarray:
        return np.load(self.run_dir / "published.npy")


@pytest.fixture
def listen(mosquitto: Any) -> Iterator[Callable[..., Listener]]:
    opened: list[Listener] = []

    def listen(**options: int) -> Listener:
        opened.append(Listener(mosquitto.host, mosquitto.port, **options))
        return opened[-1]

    yield listen
    for listener in opened:
        listener.close()


@pytest.fixture
def simulate(mosquitto: Any, tmp_path: Path) -> Iterator[Callable[..., Simulator]]:
    started: list[Simulator] = []

    def simulate(*flags: str, brokers: str = f"{mosquitto.host}:{mosquitto.port}") -> Simulator:
        started.append(Simulator(tmp_path / "run", brokers, *flags))
        return started[-1]

    yield simulate
    for simulator in started:
        simulator.kill()


def assert_all_arrived(simulator: Simulator, listener: Listener) -> None:
    """Every sample that the cars took stands in what the listener got."""
    expected = {f"car-{car:06d}": sent for car, sent, _ in simulator.published.tolist()}
    assert len(expected) == CARS
    poll_until(lambda: {car: max(seen) for car, seen in listener.telemetry.items()} == expected, 10)
    assert listener.gaps() == {}


def test_every_car_sends_gapless_records_that_any_avro_reader_reads(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener]
) -> None:
    """In quiet times every record of every car arrives exactly once, with sound values; the end is clean."""
    listener, simulator = listen(), simulate()
    poll_until(lambda: len(listener.telemetry) == CARS and len(listener.records) > CARS * 15, 20)
    assert simulator.end() == 0
    assert_all_arrived(simulator, listener)
    assert all(times == 1 for seen in listener.telemetry.values() for times in seen.values())
    assert (simulator.published["sent"] == simulator.published["acknowledged"]).all()
    assert all(abs(time.time() - record["sampled_at"].timestamp()) < 60 for record in listener.records)
    assert all(0 <= record["speed"] < 60 for record in listener.records)
    assert all(record["control_unit_firmware"] in (1000, 2000) for record in listener.records)


def test_the_second_schema_version_carries_the_model_of_the_car(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener]
) -> None:
    """With --schema-version 2 the records have a vehicle_model, the same for a car always."""
    listener, simulator = listen(version=2), simulate("--schema-version", "2")
    poll_until(lambda: len(listener.telemetry) == CARS and len(listener.records) > CARS * 5, 20)
    assert simulator.end() == 0
    assert {record["vehicle_model"] for record in listener.records} <= {"compact", "saloon", "van"}
    assert len({(record["car_id"], record["vehicle_model"]) for record in listener.records}) == CARS


def test_several_workers_and_shards_carry_the_same_fleet(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener], mosquitto: Any
) -> None:
    """Three workers, two shards (here one broker under two names): every car once, nothing missing."""
    shards = f"{mosquitto.host}:{mosquitto.port},localhost:{mosquitto.port}"
    listener, simulator = listen(), simulate("--processes", "3", brokers=shards)
    poll_until(lambda: len(listener.telemetry) == CARS and len(listener.records) > CARS * 10, 20)
    assert len(simulator.workers()) == 3
    assert simulator.end() == 0
    assert_all_arrived(simulator, listener)


def test_nothing_is_lost_when_the_broker_is_killed(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener], mosquitto: Any
) -> None:
    """kill -9 of a broker that keeps nothing on disk: the cars send their last seconds again, all arrives."""
    listener, simulator = listen(), simulate()
    poll_until(lambda: len(listener.records) > CARS * 10, 20)
    mosquitto.kill()
    time.sleep(1)
    mosquitto.start()
    before = len(listener.records)
    poll_until(lambda: len(listener.records) > before + CARS * 25, 20)
    assert simulator.end() == 0
    assert_all_arrived(simulator, listener)


def test_nothing_is_lost_when_the_fleet_is_killed(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener]
) -> None:
    """kill -9 of the simulator, twice: seq goes on without a gap, workers die with their parent."""
    listener = listen()
    for _ in range(2):
        simulator = simulate()
        before = len(listener.records)
        poll_until(lambda before=before: len(listener.records) > before + CARS * 8, 20)
        workers = simulator.workers()
        simulator.kill()
        poll_until(lambda workers=workers: not any(Path(f"/proc/{pid}").exists() for pid in workers), 5)
    simulator = simulate()
    poll_until(lambda: len(listener.records) > CARS * 30, 20)
    assert simulator.end() == 0
    assert_all_arrived(simulator, listener)


def test_a_worker_that_dies_is_started_again(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener]
) -> None:
    """kill -9 of one of two workers: its cars come back and miss nothing."""
    listener, simulator = listen(), simulate("--processes", "2")
    poll_until(lambda: len(listener.telemetry) == CARS, 20)
    victim = simulator.workers()[0]
    os.kill(victim, signal.SIGKILL)
    poll_until(lambda: len(simulator.workers()) == 2 and victim not in simulator.workers(), 10)
    before = len(listener.records)
    poll_until(lambda: len(listener.records) > before + CARS * 10, 20)
    assert simulator.end() == 0
    assert_all_arrived(simulator, listener)


def test_cars_wait_for_the_first_subscriber(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener]
) -> None:
    """A PUBACK "no matching subscribers" is no delivery: whoever subscribes later still gets seq 1."""
    simulator = simulate()
    time.sleep(3)
    listener = listen()
    poll_until(lambda: len(listener.telemetry) == CARS, 20)
    assert simulator.end() == 0
    assert_all_arrived(simulator, listener)


def test_the_end_without_a_broker_keeps_its_deadline(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener], mosquitto: Any
) -> None:
    """SIGTERM while the broker is away: ends in time with status 1, and the next start delivers the rest."""
    listener, simulator = listen(), simulate("--drain-s", "2")
    poll_until(lambda: len(listener.telemetry) == CARS, 20)
    mosquitto.kill()
    time.sleep(1)
    assert simulator.end(within_s=10) == 1
    assert (simulator.published["sent"] > simulator.published["acknowledged"]).any()
    mosquitto.start()
    simulator = simulate()
    before = len(listener.records)
    poll_until(lambda: len(listener.records) > before + CARS * 5, 20)
    assert simulator.end() == 0
    assert_all_arrived(simulator, listener)


def test_workshop_reports_arrive_once_and_match_the_truth(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener]
) -> None:
    """Failed and repaired components are reported once each, also when the fleet is killed meanwhile."""
    wear = ("--faulty-share", "0.5", "--ageing", "40000", "--fault-spread-h", "10")
    listener, simulator = listen(), simulate(*wear)
    poll_until(lambda: len(listener.maintenance) > 10, 30)
    simulator.kill()
    simulator = simulate(*wear)
    before = len(listener.maintenance)
    poll_until(lambda: len(listener.maintenance) > before + 10, 30)
    assert simulator.end() == 0
    assert set(listener.reports.values()) == {1}
    truth = {
        (fault["car_id"], fault["component"], action, fault[f"{action}_at"])
        for fault in json.loads((simulator.run_dir / "truth.json").read_text())
        for action in ("failed", "repaired")
    }
    for report in listener.maintenance:
        at = int(report["occurred_at"].timestamp() * 1000 + 0.5)
        assert (report["car_id"], report["component"], report["action"], at) in truth
        assert report["reported_at"] > report["occurred_at"]


def test_a_folder_of_another_fleet_is_refused(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener]
) -> None:
    """Another seed on the same run folder, or a second fleet in it: status 2, nothing is touched."""
    listener, simulator = listen(), simulate()
    poll_until(lambda: len(listener.telemetry) == CARS, 20)
    assert simulator.end() == 0
    before = {path.name: path.read_bytes() for path in simulator.run_dir.iterdir()}
    assert simulate("--seed", "2").process.wait(20) == 2
    assert {path.name: path.read_bytes() for path in simulator.run_dir.iterdir()} == before
    simulate()
    time.sleep(1)
    assert simulate().process.wait(20) == 2
