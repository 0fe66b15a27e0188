"""A broker that can be killed, a bridge as a process, an independent publisher and reader.

Every test has cars, brokers and a mock Kafka of its own.
"""

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from contract.records import single_object_header
from contract.schema import get
from contract.telemetry import encode, prefix
from contract.topics import MAINTENANCE, REJECTED, TELEMETRY, mqtt_topic

from .processes import DEADLINE_S, BridgeProcess, Broker, Publisher, until


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
        signals = np.full((1, len(schema.names("float"))), seq, np.float32)
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

    def bridge(self, *brokers: Broker, command: Sequence[str] = (), **settings: Any) -> BridgeProcess:
        """A new bridge between these shards and Kafka; `command`: words to put in front of its own."""
        where = {"mqtt_brokers": ",".join(b.where for b in brokers), "kafka_bootstrap": self.kafka.bootstrap}
        log = self._folder / f"bridge-{len(self._bridges)}.log"
        self._bridges.append(BridgeProcess(log, where | settings, command))
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
