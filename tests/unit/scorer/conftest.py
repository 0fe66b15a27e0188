"""Records as Kafka delivers them, and clients that the test controls."""

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message, TopicPartition

from contract.telemetry import Decoder
from scorer.assignment import Assignment
from scorer.detector import AnomalyDetector
from scorer.model import Model
from scorer.snapshots import Snapshots
from scorer.source import Source

from . import takeover


@pytest.fixture(scope="session")
def decoder() -> Decoder:
    return Decoder.of_all_versions()


@pytest.fixture
def model(detector: Any) -> Model:
    return Model.open(detector.record(version=3, threshold=12.0), "litert")


class Log:
    """A topic: appends records with the next offset of their partition."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.messages: list[Message] = []
        self._next: dict[int, int] = {}

    def append(self, value: bytes | None, key: bytes | None = None, partition: int = 0) -> Message:
        offset = self._next.get(partition, 0)
        self._next[partition] = offset + 1
        message = Message(topic=self.topic, partition=partition, offset=offset, key=key, value=value)
        self.messages.append(message)
        return message

    def skip(self, partition: int, offset: int) -> None:
        """Give the next record of a partition this offset."""
        self._next[partition] = offset


@pytest.fixture
def telemetry_log() -> Log:
    return Log("telemetry")


class ScriptedConsumer:
    """A Consumer that delivers `inbox`; functions in it are called in between, as callbacks are."""

    def __init__(self) -> None:
        self.inbox: deque[Message | Callable[[], None]] = deque()
        self.assigned: list[TopicPartition] = []

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.assigned = partitions

    def poll(self, timeout_s: float = 0.0) -> Message | None:
        while self.inbox:
            item = self.inbox.popleft()
            if isinstance(item, Message):
                return item
            item()
            return None
        return None

    def consume(self, count: int, timeout_s: float) -> list[Message]:
        messages = []
        while self.inbox and len(messages) < count:
            item = self.inbox.popleft()
            if isinstance(item, Message):
                messages.append(item)
            else:
                item()
        return messages


class ScriptedProducer:
    """A Producer whose messages are delivered when the test says so, in any order."""

    def __init__(self) -> None:
        self.produced: list[tuple[str, bytes, dict[str, Any]]] = []
        self._waiting: list[tuple[str, Callable[[KafkaError | None, Any], None]]] = []
        self._reported: list[tuple[Callable[[KafkaError | None, Any], None], KafkaError | None]] = []
        self.room = 1_000_000  # messages until the queue is full

    def produce(self, topic: str, value: bytes, *, on_delivery: Any, **options: Any) -> None:
        if self.room == 0:
            raise BufferError("Local: Queue full")
        self.room -= 1
        self.produced.append((topic, value, options))
        self._waiting.append((topic, on_delivery))

    def deliver(self, topic: str, error: KafkaError | None = None, *, number: int = 0) -> None:
        """Report the delivery of the `number`-th waiting message of a topic at the next poll."""
        indices = [index for index, (name, _) in enumerate(self._waiting) if name == topic]
        _, report = self._waiting.pop(indices[number])
        self._reported.append((report, error))

    def poll(self, timeout_s: float = 0.0) -> int:
        reported, self._reported = self._reported, []
        for report, error in reported:
            report(error, None)
        return len(reported)

    def topics(self) -> list[str]:
        """The topic of each message, in order."""
        return [topic for topic, _, _ in self.produced]


@pytest.fixture
def consumer() -> ScriptedConsumer:
    return ScriptedConsumer()


@pytest.fixture
def producer() -> ScriptedProducer:
    return ScriptedProducer()


@pytest.fixture
def reader() -> takeover.Reader:
    return takeover.Reader()


@pytest.fixture
def successor(model: Model) -> AnomalyDetector:
    detector = AnomalyDetector()
    detector.add(model)
    return detector


@pytest.fixture
def assignment(reader: takeover.Reader, decoder: Decoder, successor: AnomalyDetector) -> Assignment:
    source = Source("scorer")
    snapshots = Snapshots(successor, "failure-detector", 1.0, lambda version: None, source)
    return Assignment(
        reader, decoder, successor, snapshots, remembered_records=5, source=snapshots.source,
        topic_id=lambda: reader.topic_id, has_members=reader.groups_at_work.__contains__,
    )  # fmt: skip


@pytest.fixture
def fill(reader: takeover.Reader, telemetry_values: Any) -> Any:
    """A function that appends `count` records of one car to a partition; seq is offset + 1."""

    def append(count: int, partition: int = 0, car: str = "a") -> None:
        first = reader.high.get(("telemetry", partition), 0) + 1
        for value in telemetry_values([car] * count, range(first, first + count)):
            reader.append("telemetry", partition, value, car.encode())

    return append


@pytest.fixture
def give(consumer: Any, telemetry_log: Any, telemetry_values: Any) -> Callable[..., None]:
    """A function that lets the consumer deliver valid records of (car, seq, partition)."""

    def put(*entries: tuple[str, int, int]) -> None:
        for car, seq, partition in entries:
            value = telemetry_values([car], [seq])[0]
            consumer.inbox.append(telemetry_log.append(value, car.encode(), partition))

    return put
