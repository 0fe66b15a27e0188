"""The settings of clusters/local at work: local processes, from the cars' telemetry to a scored record."""

import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from contract.topics import MAINTENANCE, MODELS, TELEMETRY, cloud_topics, edge_topics, mirrored
from local import mosquitto, topics
from local.java import ROOT
from local.ports import Ports, is_ready
from local.supervisor import Child, Supervisor
from local.watch import scrape
from tests.integration.k8s.rendered import cluster, named

pytestmark = pytest.mark.integration
PARTITIONS = {topic.name: topic.partitions for topic in (*edge_topics(), *cloud_topics())}


class Copier:
    """Stands in for MirrorMaker: copies what is written to topics from now on to the other cluster."""

    def __init__(self, source: str, target: str, names: dict[str, str]) -> None:
        """`names`: topic of the source cluster to topic of the target."""
        self._names = names
        self._producer = Producer({"bootstrap.servers": target, "partitioner": "murmur2_random"})
        self._consumer = Consumer({"bootstrap.servers": source, "group.id": "copier"})
        starts = [
            TopicPartition(name, part, OFFSET_END) for name in names for part in range(PARTITIONS[name])
        ]
        self._consumer.assign(starts)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """Stop copying."""
        self._ended.set()
        self._thread.join()
        self._consumer.close()
        self._producer.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            for message in self._consumer.consume(1_000, 0.1):
                if message.error() is None:
                    self._producer.produce(self._names[message.topic()], message.value(), message.key())
            self._producer.poll(0)


class Site:
    """The services of clusters/local as child processes; only addresses and names are this run's own."""

    def __init__(self, edge: str, cloud: str, folder: Path) -> None:
        """`edge` and `cloud` are the bootstrap addresses of the two Kafka clusters."""
        self.run = uuid.uuid4().hex[:8]
        self.ports = Ports(int(edge.rpartition(":")[2]) - Ports().edge)
        self.supervisor = Supervisor(folder / "logs")
        topics.create("cloud", cloud, cloud_topics(f"edge-{self.run}"))
        up = {name: mirrored(f"edge-{self.run}", name) for name in (TELEMETRY, MAINTENANCE)}
        self._copiers = Copier(edge, cloud, up), Copier(cloud, edge, {MODELS: mirrored("cloud", MODELS)})
        self._edge, self._cloud, self._folder = edge, cloud, folder

    def start(self) -> None:
        """MQTT, bridge, scorer, fleet and trainer, as `kubectl apply` and `trainer launch` start them."""
        mqtt = {"mqtt_brokers": f"127.0.0.1:{self.ports.mqtt(0)}"}
        edge, model = {"kafka_bootstrap": self._edge}, {"model_name": self.run}
        self.supervisor.start(mosquitto.shard(0, self.ports.mqtt(0), self._folder))
        self.supervisor.wait_ready(["mqtt-0"], 20)
        self._service("bridge", self.ports.bridge(0), ordinal=0, **mqtt, **edge)
        self._service("scorer", self.ports.scorer(0), group_id=self.run, **edge, **model)
        self.supervisor.wait_ready(["bridge"], 30)
        self._service("simulator", self.ports.simulator, run_dir=self._folder / "fleet", **mqtt)
        self._service("trainer", kafka_bootstrap=self._cloud, edge_names=f"edge-{self.run}", **model)

    def stop(self) -> None:
        """End all processes and threads."""
        self.supervisor.stop_all()
        for copier in self._copiers:
            copier.close()

    def until(self, condition: Callable[[], Any], what: str, timeout_s: float) -> None:
        """Wait for a condition; fails with the end of every log where it does not come true in time."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            self.supervisor.tick()
            logs = "\n".join(self.supervisor.last_lines(name) for name in self.supervisor.children)
            assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}\n{logs}"
            time.sleep(0.1)

    def _service(self, name: str, port: int = 0, **own: object) -> None:
        if port:
            own |= {"metrics_host": "127.0.0.1", "metrics_port": port}
        settings = named(cluster("local"), "ConfigMap", f"{name}-settings")["data"] | {
            f"{name}_{setting}".upper(): str(value) for setting, value in own.items()
        }
        self.supervisor.start(
            Child(
                name,
                [sys.executable, "-m", name],
                lambda: not port or is_ready(port),
                restart=bool(port),
                env=settings | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"},
            )
        )


@pytest.fixture
def site(edge_kafka: Any, cloud_kafka: Any, tmp_path: Path) -> Iterator[Site]:
    """Begins with an empty telemetry topic."""
    ends = [TopicPartition(TELEMETRY, part, OFFSET_END) for part in range(PARTITIONS[TELEMETRY])]
    admin = AdminClient({"bootstrap.servers": edge_kafka.bootstrap})
    for emptied in admin.delete_records(ends, request_timeout=20).values():
        emptied.result()
    site = Site(edge_kafka.bootstrap, cloud_kafka.bootstrap, tmp_path)
    yield site
    site.stop()


def test_fleet_bridge_trainer_and_scorer_run_with_the_settings_of_the_local_cluster(site: Site) -> None:
    """The fleet's telemetry is enough for a model, the gate publishes it, and the scorer scores with it."""
    site.start()
    trainer = site.supervisor.children["trainer"]
    site.until(lambda: trainer.state == "ended", "the trainer ends", 150)
    assert trainer.status == 0, site.supervisor.last_lines("trainer")
    site.until(lambda: site.supervisor.children["scorer"].state == "ready", "the scorer is ready", 30)
    cars = scrape(site.ports.simulator)["simulator_connected_clients"]
    site.until(
        lambda: scrape(site.ports.scorer(0)).get("scorer_scored_records_total", 0) > 40 * cars,
        "the fleet's telemetry is scored",
        30,
    )
