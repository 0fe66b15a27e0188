"""A start that does not come to its end: Ctrl-C and SIGTERM end it all the same."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.liveness import alive
from tests.integration.ports import free_port

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
ENDS_WITHIN_S = 3.0

Run = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def run() -> Iterator[Run]:
    """Starts `python -m …`; what still runs at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def run(*words: str, before: list[str] | None = None) -> subprocess.Popen[bytes]:
        command = [*(before or []), sys.executable, "-m", *words]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment, process_group=0))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def silent_kafka() -> Iterator[socket.socket]:
    """Takes connections and answers nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        server.settimeout(20)
        yield server


def _port(server: socket.socket) -> str:
    return f"127.0.0.1:{server.getsockname()[1]}"


def _ends(process: subprocess.Popen[bytes], number: signal.Signals) -> tuple[bool, int]:
    """Whether the signal ends the process in time, and its exit status."""
    began = time.monotonic()
    process.send_signal(number)
    status = process.wait(40)
    return time.monotonic() - began <= ENDS_WITHIN_S, status


@pytest.mark.parametrize(
    ("service", "status"),
    [
        (("bridge", "--mqtt-brokers", "127.0.0.1:1"), 0),
        (("scorer",), 0),
        (("trainer", "watch"), 0),
        (("trainer", "list"), 143),
    ],
)
def test_a_service_ends_while_it_waits_for_kafka(
    run: Run, silent_kafka: socket.socket, service: tuple[str, ...], status: int
):
    """Kafka takes the connection and does not answer; nothing has begun, so a service ends with status 0."""
    process = run(*service, "--kafka-bootstrap", _port(silent_kafka))
    silent_kafka.accept()[0].close()
    assert _ends(process, signal.SIGINT) == (True, status)


def test_a_service_ends_while_a_look_up_blocks_it(run: Run, silent_names: list[str]):
    """Nothing in Python can interrupt a look-up: the process ends without waiting for it."""
    port = free_port()
    settings = ("--kafka-bootstrap", "127.0.0.1:1", "--mqtt-brokers", "127.0.0.1:1")
    registry = ("--schema-registry-url", "http://away.example:8081", "--metrics-port", str(port))
    process = run("bridge", *settings, *registry, before=silent_names)
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    time.sleep(0.3)
    assert _ends(process, signal.SIGTERM) == (True, 0)


def test_the_deployment_ends_while_its_brokers_come_up(run: Run, tmp_path: Path):
    """`up` does not wait for them first, and it leaves no process."""
    offset = int(os.environ.get("TEST_PORT_OFFSET", "1000")) + 50
    process = run("local", "up", "--port-offset", str(offset), "--cars", "1", "--run-dir", str(tmp_path))
    for _ in range(400):
        if (tmp_path / "logs" / "cloud.log").exists():
            break
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 3
    assert _ends(process, signal.SIGINT) == (True, 130)
    assert not [pid for pid in children if alive(int(pid))]
