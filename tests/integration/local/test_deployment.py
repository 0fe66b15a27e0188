"""The brokers of a deployment as people start them: up, killed, back, and gone without a trace."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from contract.topics import edge_topics
from local import topics
from local.deployment import Deployment, Plan
from plumbing.life import WorldDown
from tests.integration.liveness import alive

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
PORT_OFFSET = int(os.environ.get("TEST_PORT_OFFSET", "1000")) + 50
SHARDS = 2


def until(condition: Callable[[], object], what: str, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.05)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """In a folder whose name a configuration file would have to quote, behind a proxy, without a locale."""
    run_dir = tmp_path_factory.mktemp("run") / "Größe, a\\b c"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("http_proxy", "http://127.0.0.1:9")
        patch.setenv("LC_ALL", "C")
        deployment = Deployment(Plan(run_dir=run_dir, shards=SHARDS, port_offset=PORT_OFFSET))
        try:
            deployment.start_brokers()
            yield deployment
        finally:
            deployment.stop()


def test_the_topics_are_those_of_the_contract(deployment: Deployment):
    """With their partitions; none comes into being by itself."""
    admin = AdminClient({"bootstrap.servers": deployment.edge.bootstrap})
    there = {name: len(topic.partitions) for name, topic in admin.list_topics(timeout=10).topics.items()}
    ours = {name: count for name, count in there.items() if not name.startswith("__")}
    assert ours == {topic.name: topic.partitions for topic in edge_topics()}


def test_topics_are_created_once(deployment: Deployment):
    """A second start changes nothing."""
    topics.create("edge", deployment.edge.bootstrap, edge_topics())


def test_a_second_deployment_on_the_same_ports_is_refused(deployment: Deployment, tmp_path: Path):
    """Before it starts anything, naming the port, its owner and the way out."""
    with pytest.raises(
        WorldDown, match=rf"port {18_830 + PORT_OFFSET} is taken, and mosquitto shard 0.*--port-offset"
    ):
        Deployment(Plan(run_dir=tmp_path, shards=SHARDS, port_offset=PORT_OFFSET))
    assert not any(tmp_path.iterdir())


def test_a_folder_of_somebody_else_is_not_emptied(tmp_path: Path):
    """--run-dir is emptied at the start: a wrong one must not cost anything."""
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(WorldDown, match=r"is not empty and was not created by a run"):
        Deployment(Plan(run_dir=tmp_path, port_offset=PORT_OFFSET + 100))
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize("name", ["mqtt-1", "edge"])
def test_a_killed_broker_comes_back_with_its_data(deployment: Deployment, name: str):
    """The supervisor starts it again in the same folder, and says so."""
    supervisor = deployment.supervisor
    child = supervisor.children[name]
    before = child.pid
    supervisor.kill(name)
    until(lambda: supervisor.tick() or (child.state == "ready" and child.pid != before), f"{name} is back")
    assert any(event.startswith(f"{name} ended with signal 9") for event in supervisor.events)
    topics.create("edge", deployment.edge.bootstrap, edge_topics())


def test_the_watcher_is_ready_and_comes_back(deployment: Deployment):
    """It has read the cloud's log, in which there is no model yet, with every setting that it is given."""
    deployment.start_watcher(train_with="none")
    supervisor = deployment.supervisor
    supervisor.wait_ready(["watcher"], 30)
    child = supervisor.children["watcher"]
    before = child.pid
    supervisor.kill("watcher")
    until(lambda: supervisor.tick() or (child.state == "ready" and child.pid != before), "it is back")


def test_nothing_is_left_after_the_end(deployment: Deployment):
    """Not a process, not a port, also of brokers that were killed; their data is in the run folder."""
    trees = {name: child.tree() for name, child in deployment.supervisor.children.items()}
    # The job of the broker that came back may still be at work.
    assert sum(len(tree) for name, tree in trees.items() if name != "edge-transactions") == SHARDS + 3
    pids = [pid for tree in trees.values() for pid in tree]
    deployment.stop()
    data = [f"mqtt-{shard}/mosquitto.db" for shard in range(SHARDS)]
    data += ["edge/data/telemetry-0", "cloud/data/edge.telemetry-0"]
    assert [path for path in data if not (deployment.plan.run_dir / path).exists()] == []
    assert not [pid for pid in pids if alive(pid)]
    assert not [port for port in deployment.plan.ports.all(shards=SHARDS, scorers=0) if listens(port)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_command_leaves_nothing_behind(tmp_path: Path, number: signal.Signals):
    """`python -m local up` interrupted, or killed without a chance to end anything."""
    offset = PORT_OFFSET + (300 if number == signal.SIGINT else 400)
    argv = [sys.executable, "-m", "local", "up", "--port-offset", str(offset), "--run-dir", str(tmp_path)]
    ports = Plan(run_dir=tmp_path, port_offset=offset).ports
    log = tmp_path.parent / f"up-{number.name}.log"
    with (
        log.open("wb") as out,
        subprocess.Popen([*argv, "--cars", "10"], cwd=ROOT, stdout=out, stderr=out) as command,
    ):
        try:
            until(lambda: listens(ports.scorer(1)) or command.poll() is not None, "the last service runs", 90)
            assert command.poll() is None, log.read_text()
            family = descendants(command.pid)
            command.send_signal(number)
            command.wait(60)
        finally:
            command.kill()
    assert len(family) > 5
    until(lambda: not [pid for pid in family if alive(pid)], "all have ended", 10)
    assert not [port for port in ports.all(shards=1, scorers=2) if listens(port)]


def descendants(pid: int) -> list[int]:
    """Process ids of all that a process started, and they in turn."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children] + [one for child in children for one in descendants(int(child))]


def test_a_taken_port_ends_the_command_with_a_message(tmp_path: Path):
    """One line a person understands, no traceback, and an exit status."""
    offset = PORT_OFFSET + 500
    taken = Plan(run_dir=tmp_path, port_offset=offset).ports.edge
    argv = [sys.executable, "-m", "local", "up", "--port-offset", str(offset), "--run-dir", str(tmp_path)]
    with socket.create_server(("127.0.0.1", taken)):
        done = subprocess.run(
            argv, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 1
    assert f"port {taken} is taken, and edge Kafka needs it" in done.stderr
    assert "Traceback" not in done.stderr
