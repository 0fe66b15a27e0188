"""Every process uses the folder CONNECTED_CARS_SCHEMAS, or exits at once and names what is wrong in it."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from contract.schema import VARIABLE

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
BIKES = ROOT / "k8s/components/own-schema"


def _python(*arguments: str, folder: Path = BIKES) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_signals_and_their_settings_are_those_of_the_folder():
    """SIGNALS and signals.toml are the folder's."""
    done = _python(
        "-c",
        "from contract.telemetry import SIGNALS; from contract.signals import signal_settings;"
        "print(*SIGNALS); print(*signal_settings().components)",
    )
    assert done.stdout.splitlines() == [
        "speed motor_current motor_temp battery_voltage fork_vibration tire_pressure",
        "motor battery fork tire",
    ]


@pytest.mark.parametrize("service", ["bridge", "scorer", "trainer", "local"])
def test_a_folder_that_cannot_be_used_ends_every_process(service: str, tmp_path: Path):
    """One line that names the variable and the folder, and the exit code of any bad setting."""
    done = _python("-m", service, "up", folder=tmp_path / "nowhere")
    assert done.returncode == 2
    line = f"settings: {VARIABLE}: {tmp_path}/nowhere is not a folder; it must hold telemetry.v1.avsc"
    assert done.stderr.splitlines() == [line + " and signals.toml"]


@pytest.mark.parametrize(
    ("broken", "message"),
    [("signals.speed = {", "signals.toml: "), ("", "no [signals] entry for speed, motor_current")],
)
def test_settings_of_the_signals_that_cannot_be_used_end_the_training(
    broken: str, message: str, tmp_path: Path
):
    """The trainer exits before it waits for anything and names the file and the mistake."""
    shutil.copy(BIKES / "telemetry.v1.avsc", tmp_path)
    (tmp_path / "signals.toml").write_text(broken)
    done = _python("-m", "trainer", "train", "--kafka-bootstrap", "127.0.0.1:9", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"settings: {tmp_path}/signals.toml: ")
    assert message in done.stderr


@pytest.mark.parametrize("arguments", [("-m", "simulator"), ("-m", "local", "demo")])
def test_the_fleet_s_physics_do_not_drive_other_vehicles(arguments: tuple[str, ...]):
    """Simulator and demo know only the package's signals: they refuse to start and say so."""
    done = _python(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"settings: {VARIABLE}: the ")


class _Registry(BaseHTTPRequestHandler):
    asked: list[tuple[str, Any]]
    complete: threading.Event

    def do_POST(self) -> None:
        self.asked.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"id": 700 + len(self.asked)}).encode())
        if len(self.asked) == 2:
            self.complete.set()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[HTTPServer]:
    """A stand-in for a schema registry that accepts everything."""
    _Registry.asked, _Registry.complete = [], threading.Event()
    server = HTTPServer(("127.0.0.1", 0), _Registry)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_bridge_registers_the_own_schema(registry: HTTPServer):
    """The subject of telemetry gets the folder's schema alone; the maintenance record stays the package's."""
    nowhere = ["--mqtt-brokers", "127.0.0.1:9", "--kafka-bootstrap", "127.0.0.1:9", "--metrics-port", "0"]
    url = f"http://127.0.0.1:{registry.server_port}"
    bridge = subprocess.Popen(
        [sys.executable, "-m", "bridge", *nowhere, "--schema-registry-url", url],
        env={**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: str(BIKES)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert _Registry.complete.wait(30)
    finally:
        bridge.kill()
        bridge.wait()
    texts = {path: json.loads(body["schema"]) for path, body in _Registry.asked}
    assert set(texts) == {"/subjects/maintenance-value/versions", "/subjects/telemetry-value/versions"}
    assert texts["/subjects/telemetry-value/versions"]["namespace"] == "bikes"
