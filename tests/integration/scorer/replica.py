"""The scorer as a process: started, queried, stopped, killed."""

import signal
import subprocess
import sys
import time
import urllib.error
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from plumbing import web
from tests.integration.ports import free_port

from .edge import Edge, until

SCORED = "scorer_scored_records_total"


class Replica:
    """One scorer process with a metrics port of its own."""

    def __init__(self, edge: Edge, folder: Path, ordinal: int, *flags: str) -> None:
        self.port = free_port()
        self._edge, self._folder, self._ordinal, self._flags = edge, folder, ordinal, flags
        self.start()

    def start(self) -> None:
        """Also again, after its end."""
        self.log_path = self._folder / f"scorer-{self._ordinal}-{time.monotonic_ns()}.log"
        settings = {
            "--kafka-bootstrap": self._edge.bootstrap,
            "--group-id": self._edge.name,
            "--model-name": self._edge.name,
            "--scorer-id": f"scorer-{self._ordinal}",
            "--metrics-port": f"{self.port}",
            "--log-format": "json",
        }
        flags = [part for pair in settings.items() for part in pair]
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scorer", *flags, *self._flags],
                stdout=log, stderr=log, cwd=Path(__file__).parents[3],
            )  # fmt: skip

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def probe(self, path: str) -> tuple[int, str]:
        """(status, text); status 0 where nothing answers."""
        try:
            with web.opened(f"http://127.0.0.1:{self.port}{path}", timeout_s=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_ready(self) -> None:
        until(lambda: self.alive and self.probe("/readyz")[0] == 200, f"ready: {self.log[-2000:]}")

    @property
    def alive(self) -> bool:
        assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.log[-3000:]}"
        return True

    def metric(self, name: str, **labels: str) -> float:
        """A sample's value, 0 where there is none."""
        _, text = self.probe("/metrics")
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return float(sample.value)
        return 0.0

    def wait_shows(self, name: str, value: float, **labels: str) -> None:
        """Until a sample has the value."""
        until(lambda: self.alive and self.metric(name, **labels) == value, f"{name} {labels} is {value}")

    def wait_scored(self, more: int) -> None:
        """Until so many more records are scored than now."""
        enough = self.metric(SCORED) + more
        until(lambda: self.alive and self.metric(SCORED) >= enough, f"{more} more records scored")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> tuple[int, float]:
        """SIGTERM: (exit status, seconds it took)."""
        started = time.monotonic()
        self.process.terminate()
        return self.process.wait(30), time.monotonic() - started
