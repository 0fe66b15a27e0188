"""Real clusters, edge and cloud, started when first needed, and a mock edge cluster for each test."""

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract.topics import Topic, cloud_topics, edge_topics
from local import kafka, preflight, topics
from local.ports import Ports
from local.supervisor import Supervisor
from tests.integration.mock_kafka import MockKafka

# Another one where two test runs share a machine.
PORT_OFFSET = int(os.environ.get("TEST_PORT_OFFSET", "1000"))
READY_WITHIN_S = 60.0


class Cluster:
    """A running cluster that a test can stop from answering for a while."""

    def __init__(self, supervisor: Supervisor, name: str, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._supervisor = supervisor
        self._name = name

    def pause(self) -> None:
        """Kafka answers nobody (SIGSTOP)."""
        os.kill(self._pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Kafka answers again."""
        os.kill(self._pid, signal.SIGCONT)

    @property
    def _pid(self) -> int:
        pid = self._supervisor.children[self._name].pid
        assert pid is not None
        return pid


@pytest.fixture(scope="session")
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Cluster]]:
    folder = tmp_path_factory.mktemp("kafka")
    supervisor = Supervisor(folder / "logs")

    def start(name: str, port: int, wanted: tuple[Topic, ...]) -> Cluster:
        preflight.check_ports({port: f"{name} Kafka of the tests", port + 1: "its controller"})
        broker = kafka.Broker(name, port, folder / name)
        supervisor.start(broker.child())
        supervisor.wait_ready([name], READY_WITHIN_S)
        topics.create(name, broker.bootstrap, wanted)
        return Cluster(supervisor, name, broker.bootstrap)

    yield start
    supervisor.stop_all()


@pytest.fixture(scope="session")
def edge_kafka(_cluster: Callable[..., Cluster]) -> Cluster:
    """The edge cluster with its topics. `.bootstrap`, `.pause()`, `.resume()`."""
    return _cluster("edge", Ports(PORT_OFFSET).edge, edge_topics())


@pytest.fixture(scope="session")
def cloud_kafka(_cluster: Callable[..., Cluster]) -> Cluster:
    """The cloud cluster with its topics. `.bootstrap`, `.pause()`, `.resume()`."""
    return _cluster("cloud", Ports(PORT_OFFSET).cloud, cloud_topics())


@pytest.fixture
def mock_kafka() -> Iterator[MockKafka]:
    """An edge cluster of the test's own, without a JVM. `.bootstrap`, `.pause()`, `.resume()`."""
    cluster = MockKafka({topic.name: topic.partitions for topic in edge_topics()})
    yield cluster
    cluster.close()


@pytest.fixture
def silent_names(tmp_path: Path) -> Iterator[list[str]]:
    """Words to put in front of a command: it asks a name server that takes every question and answers none.

    A look-up then takes 10 s and fails.
    """
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("port 53 and a mount namespace need root")
    server = "127.0.66.53"
    (tmp_path / "resolv.conf").write_text(f"nameserver {server}\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as questions:
        questions.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # tests side by side
        questions.bind((server, 53))
        mount = f'mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && exec "$@"'
        yield ["unshare", "--mount", "sh", "-c", mount, "sh"]
