"""A broker that can be killed, a bridge as a process, an independent publisher and reader.

Every test has cars, brokers and a mock Kafka of its own.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
import pytest
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from contract.framing import single_object_header
from contract.schema import get
from contract.telemetry import SIGNALS, encode, prefix
from contract.topics import MAINTENANCE, REJECTED, TELEMETRY, mqtt_topic

ROOT = Path(__file__).parents[3]
DEADLINE_S = 30.0


def until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Look again and again until `condition` holds; fail saying `what` after the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.05)


# Below the ephemeral range, where outgoing connections are; none twice: a stopped broker keeps its own.
_PORTS = iter(range(23_100, 24_000))


def _free_port() -> int:
    for port in _PORTS:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port is left")


class Broker:
    """A mosquitto with a port and a memory of its own."""

    host = "127.0.0.1"

    def __init__(self, folder: Path) -> None:
        self.port = _free_port()
        self._conf = folder / "mosquitto.conf"
        self._conf.write_text(
            f"listener {self.port} {self.host}\nallow_anonymous true\n"
            f"persistence true\npersistence_location {folder}/\n"
            "max_queued_messages 1000000\nmax_queued_bytes 0\nmax_inflight_messages 5000\nuser root\n"
        )
        self.start()

    @property
    def where(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["mosquitto", "-c", str(self._conf)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
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

    def send(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Publish (topic, payload) in order, without waiting."""
        self._waiting += [self._client.publish(topic, payload, qos=1) for topic, payload in messages]

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

    def __init__(self, log: Path, settings: dict[str, Any]) -> None:
        self._log = log
        self._port = _free_port()
        told = {"metrics_port": self._port, "log_format": "json", **settings}
        flags = [f"--{key.replace('_', '-')}={value}" for key, value in told.items()]
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bridge", *flags], cwd=ROOT, stdout=out, stderr=out
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def get(self, path: str) -> tuple[int, str]:
        """(status, text) of its HTTP server; 0 where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=5) as answer:
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


class Log:
    """What is in Kafka since the test began, of the test's own cars."""

    def __init__(self, bootstrap: str, fleet: str) -> None:
        self._fleet = fleet
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": fleet, "enable.auto.commit": False, "log_level": 0}
        )
        self._messages: dict[str, list[Message]] = defaultdict(list)
        self._seqs: dict[str, list[int]] = defaultdict(list)
        topics = self._consumer.list_topics(timeout=DEADLINE_S).topics
        partitions = [
            TopicPartition(t, p) for t in (TELEMETRY, MAINTENANCE, REJECTED) for p in topics[t].partitions
        ]
        for partition in partitions:
            until(lambda p=partition: self._starts_at_the_end_of(p), f"{partition} has a leader")
        self._consumer.assign(partitions)

    def read(self, topic: str = TELEMETRY) -> list[Message]:
        """Everything of `topic` so far."""
        for message in self._consumer.consume(10_000, 0.2):
            assert message.error() is None
            if self._is_ours(message):
                self._messages[message.topic()].append(message)
                if message.topic() == TELEMETRY:
                    self._seqs[message.key().decode()].append(seq_of(message.value(), message.key()))
        return self._messages[topic]

    def seqs(self) -> dict[str, list[int]]:
        """seq by car, as they stand in Kafka."""
        self.read()
        return dict(self._seqs)

    def distinct(self) -> int:
        """How many (car, seq)."""
        return sum(len(set(seqs)) for seqs in self.seqs().values())

    def close(self) -> None:
        self._consumer.close()

    def _starts_at_the_end_of(self, partition: TopicPartition) -> bool:
        try:
            partition.offset = self._consumer.get_watermark_offsets(partition, timeout=DEADLINE_S)[1]
        except KafkaException:  # created a moment ago
            return False
        return True

    def _is_ours(self, message: Message) -> bool:
        topic = dict(message.headers() or []).get("mqtt_topic", b"")
        return self._fleet.encode() in (message.key() or b"") + topic + (message.value() or b"")


def seq_of(value: bytes, car: bytes) -> int:
    """seq of a framed telemetry v1 value: the varint after the frame and the car."""
    at, shift, zigzag = 5 + 1 + len(car), 0, 0
    while True:
        zigzag |= (value[at] & 0x7F) << shift
        if value[at] < 0x80:
            return zigzag >> 1
        at, shift = at + 1, shift + 7


class Fleet:
    """Cars with names that no other test uses."""

    def __init__(self, name: str) -> None:
        self.name = name

    def car(self, number: int) -> str:
        return f"{self.name}-{number}"

    def telemetry(self, car: int, seq: int, version: int = 1) -> tuple[str, bytes]:
        """(MQTT topic, payload) of one record."""
        schema = get("telemetry", version)
        head = single_object_header(schema) + prefix(schema, self.car(car), "Zoé")
        signals = np.full((1, len(SIGNALS)), seq, np.float32)
        stamp = np.array([1_795_000_000_000 + seq])
        return mqtt_topic(self.car(car), TELEMETRY), encode([head], np.array([seq]), stamp, signals)[0]

    def ticks(self, cars: int, seqs: Iterable[int]) -> list[tuple[str, bytes]]:
        """One record of each car for each seq, as the cars of a fleet send them."""
        return [self.telemetry(car, seq) for seq in seqs for car in range(cars)]


class World:
    """One test's cars, brokers, publishers and bridges, and what of theirs is in Kafka."""

    def __init__(self, kafka: Any, folder: Path) -> None:
        self.kafka = kafka
        self.fleet = Fleet(f"t{uuid.uuid4().hex[:10]}")
        self.log = Log(kafka.bootstrap, self.fleet.name)
        self._folder = folder
        self._brokers: list[Broker] = []
        self._publishers: list[Publisher] = []
        self._bridges: list[BridgeProcess] = []

    def until(self, condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> None:
        """Look again and again until `condition` holds; fail saying `what` after the deadline."""
        until(condition, what, deadline_s)

    def broker(self) -> Broker:
        """A new mosquitto."""
        folder = self._folder / f"mosquitto-{len(self._brokers)}"
        folder.mkdir()
        self._brokers.append(Broker(folder))
        return self._brokers[-1]

    def publisher(self, broker: Broker) -> Publisher:
        """A new client of that broker."""
        name = f"{self.fleet.name}-publisher-{len(self._publishers)}"
        self._publishers.append(Publisher(broker, name))
        return self._publishers[-1]

    def bridge(self, *brokers: Broker, **settings: Any) -> BridgeProcess:
        """A new bridge between these shards and Kafka."""
        where = {"mqtt_brokers": ",".join(b.where for b in brokers), "kafka_bootstrap": self.kafka.bootstrap}
        log = self._folder / f"bridge-{len(self._bridges)}.log"
        self._bridges.append(BridgeProcess(log, where | settings))
        return self._bridges[-1]

    def close(self) -> None:
        """End everything that was made; Kafka goes on."""
        self.kafka.resume()
        for bridge in self._bridges:
            bridge.kill()
        for publisher in self._publishers:
            publisher.close()
        for broker in self._brokers:
            broker.kill()
        self.log.close()


@pytest.fixture
def world(mock_kafka: Any, tmp_path: Path) -> Iterator[World]:
    world = World(mock_kafka, tmp_path)
    yield world
    world.close()
