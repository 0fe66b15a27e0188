"""Batches as Kafka gives them, and clients that do as they are told."""

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message, TopicPartition

from contract.framing import schema_ids
from contract.schema import schemas
from contract.telemetry import Decoder
from scorer.model import Model


@pytest.fixture(scope="session")
def decoder() -> Decoder:
    return Decoder(schema_ids(schemas()))


@pytest.fixture
def model(detector: Any) -> Model:
    return Model.open(detector.record(version=3, threshold=12.0), "litert")


class Log:
    """A topic as it is in Kafka: appends, and knows each partition's next offset."""

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
        """The next record of a partition gets `offset`."""
        self._next[partition] = offset


@pytest.fixture
def telemetry_log() -> Log:
    return Log("telemetry")


class ScriptedConsumer:
    """A Consumer that gives what `inbox` holds; a function there is called in passing, as callbacks are."""

    def __init__(self) -> None:
        self.inbox: deque[Message | Callable[[], None]] = deque()
        self.assigned: list[TopicPartition] = []

    def assign(self, places: list[TopicPartition]) -> None:
        self.assigned = places

    def poll(self, timeout_s: float = 0.0) -> Message | None:
        while self.inbox:
            item = self.inbox.popleft()
            if isinstance(item, Message):
                return item
            item()
            return None
        return None

    def consume(self, count: int, timeout_s: float) -> list[Message]:
        found = []
        while self.inbox and len(found) < count:
            item = self.inbox.popleft()
            if isinstance(item, Message):
                found.append(item)
            else:
                item()
        return found


class ScriptedProducer:
    """A Producer whose deliveries happen when the test says so, in any order."""

    def __init__(self) -> None:
        self.produced: list[tuple[str, bytes, dict[str, Any]]] = []
        self._waiting: list[tuple[str, Callable[[KafkaError | None, Any], None]]] = []
        self._reported: list[tuple[Callable[[KafkaError | None, Any], None], KafkaError | None]] = []
        self.room = 1_000_000

    def produce(self, topic: str, value: bytes, *, on_delivery: Any, **where: Any) -> None:
        if self.room == 0:
            raise BufferError("Local: Queue full")
        self.room -= 1
        self.produced.append((topic, value, where))
        self._waiting.append((topic, on_delivery))

    def deliver(self, topic: str, error: KafkaError | None = None, *, number: int = 0) -> None:
        """Kafka reports on the number-th of `topic` that waits; told at the next poll."""
        places = [place for place, (name, _) in enumerate(self._waiting) if name == topic]
        _, report = self._waiting.pop(places[number])
        self._reported.append((report, error))

    def poll(self, timeout_s: float = 0.0) -> int:
        reported, self._reported = self._reported, []
        for report, error in reported:
            report(error, None)
        return len(reported)

    def topics(self) -> list[str]:
        """The topics written to, in order."""
        return [topic for topic, _, _ in self.produced]


@pytest.fixture
def consumer() -> ScriptedConsumer:
    return ScriptedConsumer()


@pytest.fixture
def producer() -> ScriptedProducer:
    return ScriptedProducer()
