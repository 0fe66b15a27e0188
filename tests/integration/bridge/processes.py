"""A broker that can be killed, an independent publisher, and a bridge as a process."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from prometheus_client.parser import text_string_to_metric_families

from plumbing import web
from tests.integration.ports import free_port

ROOT = Path(__file__).parents[3]
DEADLINE_S = 30.0


def until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Look again and again until `condition` holds; fail saying `what` after the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.05)


class Broker:
    """A mosquitto with a port and a memory of its own."""

    host = "127.0.0.1"

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._conf = folder / "mosquitto.conf"
        self._conf.write_text(
            f"listener {self.port} {self.host}\nallow_anonymous true\n"
            "persistence true\npersistence_location ./\n"
            "max_queued_messages 1000000\nmax_queued_bytes 0\nmax_inflight_messages 5000\nuser root\n"
        )
        self.start()

    @property
    def where(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["mosquitto", "-c", str(self._conf)],
            cwd=self._conf.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self._answers, "mosquitto answers")

    def stop(self) -> None:
        """SIGTERM: it saves sessions and queues."""
        self._process.terminate()
        self._process.wait(10)

    def kill(self) -> None:
        """SIGKILL: it saves nothing."""
        self._process.kill()
        self._process.wait(10)

    def _answers(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex((self.host, self.port)) == 0


class Publisher:
    """paho, the client that everyone knows: QoS 1, and it knows what was acknowledged."""

    def __init__(self, broker: Broker, name: str) -> None:
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
        self._client.max_inflight_messages_set(1_000)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()
        self._waiting: list[paho.MQTTMessageInfo] = []

    def send(self, messages: Iterable[tuple[str, bytes]], *, retain: bool = False) -> None:
        """Publish (topic, payload) in order, without waiting."""
        self._waiting += [self._client.publish(topic, payload, 1, retain) for topic, payload in messages]

    def wait(self) -> None:
        """Until the broker has acknowledged everything that was sent."""
        for info in self._waiting:
            info.wait_for_publish(DEADLINE_S)
            assert info.is_published()
        self._waiting = []

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class BridgeProcess:
    """`python -m bridge`."""

    def __init__(self, log: Path, settings: dict[str, Any], command: Sequence[str] = ()) -> None:
        """`command`: words to put in front of the bridge's own."""
        self._log = log
        self._port = free_port()
        options = {"metrics_port": self._port, "log_format": "json", **settings}
        flags = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [*command, sys.executable, "-m", "bridge", *flags], cwd=ROOT, stdout=out, stderr=out
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def get(self, path: str) -> tuple[int, str]:
        """(status, text) of its HTTP server; 0 where it does not answer."""
        try:
            with web.opened(f"http://127.0.0.1:{self._port}{path}", timeout_s=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_ready(self) -> "BridgeProcess":
        until(lambda: self._alive() and self.get("/readyz")[0] == 200, "the bridge is ready")
        return self

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(s.value for s in samples if labels.items() <= s.labels.items())

    @property
    def memory_mib(self) -> float:
        """Resident."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def terminate(self) -> int:
        """SIGTERM, and its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def _alive(self) -> bool:
        assert self.process.poll() is None, self.log
        return True
