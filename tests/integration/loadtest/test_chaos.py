"""`python -m loadtest chaos` with the most important faults: three minutes in which nothing is lost."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from loadtest.chaos.pairs import draw
from loadtest.chaos.volume import Volume
from local.deployment import ENVIRONMENT
from local.java import ROOT
from local.ports import port_is_open
from local.supervisor import Child, Supervisor
from plumbing.life import WorldDown

pytestmark = pytest.mark.integration

PORT_OFFSET = int(os.environ.get("TEST_PORT_OFFSET", "1000")) + 600
RATE = 2_000
FAULTS = (
    "edge-stall-bridge-kill", "mqtt-stop", "mqtt-kill", "scorer-kill", "edge-kill", "mirror-kill",
    "poison-flood",
)  # fmt: skip
# The load of the machine is unknown, so the test proves that everything recovers, not how fast.
RECOVERY_S_MAX = 240
BY_RULE = ("refused_by_rule", "deleted_before_scored", "deleted_before_copied")
KEYS = {"fault", "at_s", "recovery_s", "lost", "duplicates", "order_violations", "worst_latency_ms"}


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory, detector: Any) -> dict[str, Any]:
    """ledger.json of a successful run."""
    folder = tmp_path_factory.mktemp("chaos")
    model = folder / "champion.record"
    model.write_bytes(detector.record(threshold=8.0))
    argv = [
        sys.executable, "-m", "loadtest", "chaos", "--faults", ",".join(FAULTS), "--cars", "800",
        "--rate", str(RATE), "--messages", "100000", "--model", str(model), "--run-dir", str(folder / "run"),
        "--recovery-s-max", str(RECOVERY_S_MAX), "--port-offset", str(PORT_OFFSET),
    ]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT, timeout=1_200)
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    content: dict[str, Any] = json.loads((folder / "run/ledger.json").read_text())
    return content


@pytest.mark.measuring
def test_nothing_is_lost_doubled_or_scored_twice(ledger: dict[str, Any]) -> None:
    """At every stage, at 2 000 messages a second, over all faults."""
    assert (ledger["lost"], ledger["order_violations"], ledger["scored_twice"]) == (0, 0, 0)
    assert ledger["cloud"] == {"missing": 0, "doubled": 0}
    assert ledger["broken"] == []
    assert ledger["messages"] >= 100_000


@pytest.mark.measuring
def test_every_fault_is_accounted_for(ledger: dict[str, Any]) -> None:
    """Each has figures of its own, and recovered."""
    assert [fault["fault"] for fault in ledger["faults"]] == list(FAULTS)
    for fault in ledger["faults"]:
        assert fault.keys() >= KEYS
        assert 0 <= fault["recovery_s"] <= RECOVERY_S_MAX
        assert fault["lost"] == fault["order_violations"] == 0


@pytest.mark.measuring
def test_the_faults_had_an_effect(ledger: dict[str, Any]) -> None:
    """A run in which nothing broke would prove nothing: each fault delays its own stage."""
    by_name = {fault["fault"]: fault for fault in ledger["faults"]}
    assert by_name["mqtt-kill"]["duplicates"] > RATE  # the cars sent their last seconds again
    worst = {name: fault["worst_latency_ms_by_stage"] for name, fault in by_name.items()}
    assert worst["edge-stall-bridge-kill"]["edge"] > 2_000
    assert worst["edge-kill"]["edge"] > 1_000
    assert worst["scorer-kill"]["scored"] > 1_000
    assert worst["mirror-kill"]["cloud"] > 3_000


def test_an_unknown_fault_is_refused() -> None:
    """Before anything starts; the message lists the known ones."""
    argv = [sys.executable, "-m", "loadtest", "chaos", "--faults", "earthquake"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert done.returncode == 2
    assert "earthquake: none of bridge-kill" in done.stderr


def test_a_relay_can_be_cut_and_restored(tmp_path: Path) -> None:
    """It carries both ways; killing it ends connections and refuses new ones; its successor carries again."""
    target, port = PORT_OFFSET + 20_000, PORT_OFFSET + 20_001
    argv = [sys.executable, "-m", "loadtest.relay", str(port), str(target)]
    supervisor = Supervisor(tmp_path)
    with socket.create_server(("127.0.0.1", target)) as server:
        threading.Thread(target=_echo, args=(server,), daemon=True).start()
        relay = supervisor.start(Child("relay", argv, lambda: port_is_open(port), env=ENVIRONMENT))
        try:
            supervisor.wait_ready(["relay"], 10)
            with socket.create_connection(("127.0.0.1", port), 5) as line:
                assert _ask(line) == b"ping"
                supervisor.kill("relay")
                assert relay.process is not None
                relay.process.wait(5)
                with pytest.raises(ConnectionError):
                    _ask(line)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), 5)
            _until_it_works_again(supervisor)
            with socket.create_connection(("127.0.0.1", port), 5) as line:
                assert _ask(line) == b"ping"
        finally:
            supervisor.stop_all()


def _until_it_works_again(supervisor: Supervisor) -> None:
    deadline = time.monotonic() + 10
    while not (supervisor.restarts and supervisor.children["relay"].state == "ready"):
        assert time.monotonic() < deadline, "the relay does not come back"
        supervisor.tick()
        time.sleep(0.05)


def test_a_volume_can_be_filled_and_freed(tmp_path: Path) -> None:
    """Nothing can be written to a full volume; after `free` it can."""
    folder = tmp_path / "mounted"
    try:
        volume = Volume(folder, tmp_path / "image", 16)
    except WorldDown as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    try:
        (folder / "before").write_bytes(bytes(1_000))
        volume.fill()
        with pytest.raises(OSError, match="No space left"):
            (folder / "during").write_bytes(bytes(1 << 16))
        volume.free()
        (folder / "after").write_bytes(bytes(1 << 20))
    finally:
        volume.close()
    assert not folder.is_mount()


def _echo(server: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the test has closed the server
        while True:
            line, _ = server.accept()
            with line, contextlib.suppress(ConnectionError):  # the relay was killed
                line.sendall(line.recv(4))
                line.recv(4)


def _ask(line: socket.socket) -> bytes:
    line.settimeout(5)
    line.sendall(b"ping")
    if answer := line.recv(4):
        return answer
    raise ConnectionAbortedError


@pytest.mark.measuring
def test_nothing_is_lost_under_faults_in_pairs(tmp_path: Path, detector: Any) -> None:
    """With relays on all hops; each pair is a row of the ledger, and the seed stands in it."""
    ledger = _pairs_ledger(tmp_path, detector, "--pairs", "4", "--seed", "3")
    assert [row["fault"] for row in ledger["faults"]] == [str(pair) for pair in draw(4, 3)]
    assert ledger["seed"] == 3


@pytest.mark.measuring
def test_what_is_missing_by_rule_is_what_the_services_say(tmp_path: Path, detector: Any) -> None:
    """Clocks an hour off, a bridge of the release before, retention that overtakes: all is accounted for."""
    names = "clocks-behind,clocks-ahead,bridge-older,scorers-overtaken,mirror-overtaken,scorer-kill"
    ledger = _pairs_ledger(tmp_path, detector, "--pairs", "3", "--seed", "4", "--faults", names)
    assert min(ledger[name] for name in BY_RULE) > 0
    assert ledger["skipped"] == {}


def _pairs_ledger(tmp_path: Path, detector: Any, *flags: str) -> dict[str, Any]:
    """ledger.json of a successful run in pairs, which lost nothing."""
    model = tmp_path / "champion.record"
    model.write_bytes(detector.record(threshold=8.0))
    argv = [
        sys.executable, "-m", "loadtest", "chaos", *flags, "--cars", "800", "--rate", str(RATE),
        "--messages", "0", "--model", str(model), "--run-dir", str(tmp_path / "run"),
        "--recovery-s-max", str(RECOVERY_S_MAX), "--port-offset", str(PORT_OFFSET),
    ]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT, timeout=900)
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    ledger: dict[str, Any] = json.loads((tmp_path / "run/ledger.json").read_text())
    assert (ledger["lost"], ledger["order_violations"], ledger["scored_twice"]) == (0, 0, 0)
    assert ledger["cloud"] == {"missing": 0, "doubled": 0}
    return ledger
