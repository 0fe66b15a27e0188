"""MirrorMaker 2 between the two clusters, and what a reader of committed records sees behind it."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from contract.topics import cloud_topics, edge_topics
from local import kafka, topics
from local.ports import Ports
from local.supervisor import Child, Supervisor

PARTITIONS = {topic.name: topic.partitions for topic in (*edge_topics(), *cloud_topics())}


class Mirror:
    """The running MirrorMaker and clients of both clusters. Every test writes under keys of its own."""

    def __init__(self, supervisor: Supervisor, child: Child, edge: Any, cloud: Any) -> None:
        self.child, self.edge, self.cloud = child, edge, cloud
        self._supervisor = supervisor
        self._producers = {where.bootstrap: _producer(where.bootstrap) for where in (edge, cloud)}

    def write(self, cluster: Any, topic: str, key: str, values: Sequence[bytes]) -> None:
        """Write values, in order, and wait for them."""
        producer = self._producers[cluster.bootstrap]
        for value in values:
            producer.produce(topic, value, key)
        assert producer.flush(60) == 0

    def read_until(self, cluster: Any, topic: str, key: str, last: bytes, within_s: float) -> list[bytes]:
        """All committed values of the key, up to `last` and what follows at once; fails without it."""
        consumer = Consumer(
            {
                "bootstrap.servers": cluster.bootstrap,
                "group.id": "none",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 10,
                "log_level": 0,
            }
        )
        consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS[topic])])
        values: list[bytes] = []
        deadline = time.monotonic() + within_s
        try:
            while last not in values:
                self._supervisor.tick()
                assert time.monotonic() < deadline, f"{len(values)} of {key} in {topic}, but not the last"
                values += _values(consumer, key, 0.05)
            return values + _values(consumer, key, 1.0)
        finally:
            consumer.close()

    def fence(self, transactional_id: str) -> None:
        """Take over a producer's transactions in the cloud; it fails at its next one."""
        usurper = Producer(
            {"bootstrap.servers": self.cloud.bootstrap, "transactional.id": transactional_id, "log_level": 0}
        )
        usurper.init_transactions(30)

    def signal(self, number: signal.Signals) -> None:
        """Stop MirrorMaker or let it go on."""
        self._supervisor.kill(self.child.name, number)

    def delete_all(self, cluster: Any, topic: str) -> None:
        """Delete every record, as retention does."""
        ends = [TopicPartition(topic, number, OFFSET_END) for number in range(PARTITIONS[topic])]
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
        for done in admin.delete_records(ends, request_timeout=20).values():
            done.result()

    def make_again(self, cluster: Any, name: str) -> None:
        """Delete a topic and create it with the same settings."""
        (topic,) = (topic for topic in (*edge_topics(), *cloud_topics()) if topic.name == name)
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
        for done in admin.delete_topics([name], operation_timeout=20).values():
            done.result()
        topics.create("edge", cluster.bootstrap, [topic])

    def kill(self) -> None:
        """SIGKILL; the supervisor starts it again."""
        self._supervisor.kill(self.child.name)

    def tick(self) -> None:
        """Let the supervisor look."""
        self._supervisor.tick()


def _producer(bootstrap: str) -> Producer:
    return Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "log_level": 0})


def _values(consumer: Consumer, key: str, timeout_s: float) -> list[bytes]:
    messages = consumer.consume(10_000, timeout_s)
    return [m.value() for m in messages if m.error() is None and m.key() == key.encode()]


@pytest.fixture(scope="module")
def mirror(edge_kafka: Any, cloud_kafka: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    folder: Path = tmp_path_factory.mktemp("mirror") / "Größe, a\\b c"
    supervisor = Supervisor(folder / "logs")
    offset = int(edge_kafka.bootstrap.rpartition(":")[2]) - Ports().edge
    child = kafka.mirrormaker(
        folder,
        edge_bootstrap=edge_kafka.bootstrap,
        cloud_bootstrap=cloud_kafka.bootstrap,
        rest_port=Ports(offset).mirror,
    )
    supervisor.start(child)
    try:
        yield Mirror(supervisor, child, edge_kafka, cloud_kafka)
    finally:
        edge_kafka.resume()
        cloud_kafka.resume()
        supervisor.stop_all()


@pytest.fixture
def key(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """A key that no other test uses."""
    return lambda what: f"{request.node.name}-{what}"
