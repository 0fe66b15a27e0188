"""A broker that can be killed, a fleet as a process, and an independent listener (paho-mqtt, fastavro)."""

import io
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from simulator.metrics import CountsTable, WorkerCounts
from tests.integration.ports import free_port

ROOT = Path(__file__).parents[3]
SCHEMAS = ROOT / "contract" / "schemas"
SCHEMA = {
    int(path.name.split(".")[1][1:]): fastavro.parse_schema(json.loads(path.read_text()))
    for path in SCHEMAS.glob("telemetry.v*.avsc")
}
MAINTENANCE = fastavro.parse_schema(json.loads((SCHEMAS / "maintenance.v1.avsc").read_text()))
CARS = 40  # in every fleet here


def poll_until(holds: Callable[[], bool], within_s: float) -> None:
    """Wait for `holds`; fails after within_s."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, f"not within {within_s} s"
        time.sleep(0.05)


class Broker:
    """A mosquitto without persistence: a kill loses its sessions and queues."""

    host = "127.0.0.1"

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} {self.host}\nallow_anonymous true\npersistence false\n"
            "max_inflight_messages 5000\nmax_queued_messages 1000000\nmax_queued_bytes 0\n"
            "connection_messages false\nlog_type error\n"
        )
        self.start()

    def start(self) -> None:
        # Debian installs it in /usr/sbin, which is not in the PATH of ordinary users.
        path = os.environ["PATH"] + ":/usr/sbin"
        self.process = subprocess.Popen(
            ["mosquitto", "-c", str(self._config)], env=os.environ | {"PATH": path}
        )
        poll_until(lambda: self._answers(self.port), 5)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _answers(self, port: int) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex((self.host, port)) == 0


class Listener:
    """A subscriber to everything with a persistent session; stores what it received."""

    def __init__(self, host: str, port: int, version: int = max(SCHEMA)) -> None:
        self.telemetry: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.records: list[dict[str, Any]] = []
        self.reports: Counter[str] = Counter()
        self.maintenance: list[dict[str, Any]] = []
        self.subscribed = False
        self._schema = SCHEMA[version]
        self._host, self._port, self._properties = host, port, Properties(PacketTypes.CONNECT)
        self._properties.SessionExpiryInterval = 600
        self.come_back()

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

    def until(self, holds: Callable[[], bool], within_s: float) -> None:
        """Wait until `holds`; fails after within_s."""
        poll_until(holds, within_s)

    def leave(self) -> None:
        """Disconnect; the broker keeps the session and queues messages for it."""
        self._client.disconnect()
        self._client.loop_stop()

    def come_back(self) -> None:
        """Connect with the same session, or with a new one if the broker lost it."""
        self.subscribed = False
        self._client = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id="listener", protocol=paho.MQTTv5
        )
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: setattr(self, "subscribed", True)
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(1, 1)
        self._client.connect(self._host, self._port, clean_start=False, properties=self._properties)
        self._client.loop_start()
        poll_until(lambda: self.subscribed, 5)

    def gaps(self) -> dict[str, list[int]]:
        """The seqs below the highest one of a car that never arrived, by car."""
        missing = {
            car: sorted(set(range(1, max(seen))) - seen.keys()) for car, seen in self.telemetry.items()
        }
        return {car: seqs for car, seqs in missing.items() if seqs}

    def close(self) -> None:
        self.leave()


class Simulator:
    """A simulator process and its run folder."""

    def __init__(self, run_dir: Path, brokers: str, *flags: str, before: Sequence[str] = ()) -> None:
        """`before`: words to put in front of its command."""
        self.run_dir = run_dir
        fleet = ["-m", "simulator", "--mqtt-brokers", brokers, "--run-dir", str(run_dir)]
        command = [*before, sys.executable, *fleet]
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
        self.process = subprocess.Popen(
            [*command, "--cars", str(CARS), "--rate-hz", "10", *flags], env=environment
        )

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def until(self, holds: Callable[[], bool], within_s: float) -> None:
        """Wait until `holds`; fails after within_s."""
        poll_until(holds, within_s)

    def counts(self) -> WorkerCounts:
        """The sum of the counts of the workers."""
        return CountsTable(self.run_dir / "counts", len(self.workers())).total()

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
def metrics_port() -> int:
    """A port below the ephemeral range for a simulator's probes."""
    return free_port()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    yield broker
    broker.kill()


@pytest.fixture
def listen(mosquitto: Broker) -> Iterator[Callable[..., Listener]]:
    opened: list[Listener] = []

    def listen(**options: int) -> Listener:
        opened.append(Listener(mosquitto.host, mosquitto.port, **options))
        return opened[-1]

    yield listen
    for listener in opened:
        listener.close()


@pytest.fixture
def simulate(mosquitto: Broker, tmp_path: Path) -> Iterator[Callable[..., Simulator]]:
    started: list[Simulator] = []

    def simulate(
        *flags: str, brokers: str = f"{mosquitto.host}:{mosquitto.port}", before: Sequence[str] = ()
    ) -> Simulator:
        started.append(Simulator(tmp_path / "run", brokers, *flags, before=before))
        return started[-1]

    yield simulate
    for simulator in started:
        simulator.kill()
