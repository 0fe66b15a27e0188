"""MirrorMaker's offsets as its connectors write them."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message

from mirror.gaps import Copied
from mirror.position import Position
from plumbing.life import WorldDown

TOPIC = "mm2-offsets.edge.internal"


class Consumer:
    """Gives the messages of the test, then the end of the partition."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def list_topics(self, timeout: float) -> Any:
        return SimpleNamespace(topics={TOPIC: SimpleNamespace(error=None, partitions=[0, 1])})

    def get_watermark_offsets(self, asked: Any, timeout: float) -> tuple[int, int]:
        return 0, 5 if asked.partition == 0 else 0

    def assign(self, places: list[Any]) -> None:
        self.assigned = [(each.topic, each.partition, each.offset) for each in places]

    def consume(self, count: int, wait_s: float) -> list[Message]:
        messages, self.messages = self.messages, []
        return messages

    def say(
        self,
        partition: int,
        offset: int | None,
        cluster: str = "edge",
        topic: str = "telemetry",
        at: int = 0,
    ) -> None:
        where = {"cluster": cluster, "partition": partition, "topic": topic}
        value = None if offset is None else json.dumps({"offset": offset}).encode()
        self.put(json.dumps(["MirrorSourceConnector", where]).encode(), value, at)

    def put(self, key: bytes | None, value: bytes | None, at: int = 0) -> None:
        self.messages.append(Message(topic=TOPIC, partition=0, offset=at, key=key, value=value))

    def fail(self, code: int) -> None:
        self.messages.append(Message(topic=TOPIC, partition=0, error=KafkaError(code)))


def test_the_last_offset_of_each_partition_counts() -> None:
    """The offset is that of the last record copied; other clusters, connectors and junk are left out."""
    consumer = Consumer()
    position = Position(consumer, TOPIC, "edge")  # type: ignore[arg-type]
    assert consumer.assigned == [(TOPIC, 0, 0), (TOPIC, 1, 0)]
    consumer.say(3, 7)
    consumer.say(3, 9)
    consumer.say(4, 1, topic="alerts")
    consumer.say(5, 1, cluster="cloud")
    for key in (None, b"junk", b'["MirrorCheckpointConnector",{}]', b"[1]", b"{}"):
        consumer.put(key, b'{"offset":1}')
    consumer.put(b'["x",{"cluster":"edge","partition":1,"topic":"t"}]', b"[]")
    position.poll(0)
    assert position.copied == {("telemetry", 3): Copied(10), ("alerts", 4): Copied(2)}
    consumer.say(3, 4)
    position.poll(0)
    assert position.copied["telemetry", 3] == Copied(5, turns=1)


def test_a_removed_offset_is_forgotten() -> None:
    """Somebody has removed it, so that MirrorMaker begins anew."""
    consumer = Consumer()
    position = Position(consumer, TOPIC, "edge")  # type: ignore[arg-type]
    consumer.say(3, 7)
    consumer.say(3, None)
    position.poll(0)
    assert position.copied == {}


def test_nothing_is_compared_before_the_end_is_reached() -> None:
    """Older offsets would look like a standstill. An empty partition has no end to wait for."""
    consumer = Consumer()
    position = Position(consumer, TOPIC, "edge")  # type: ignore[arg-type]
    assert not position.caught_up
    consumer.fail(KafkaError._PARTITION_EOF)
    position.poll(0)
    assert position.caught_up


def test_an_end_that_never_comes_is_not_waited_for() -> None:
    """MirrorMaker writes all the time: what there was at the start is read with the offset before its end."""
    consumer = Consumer()
    position = Position(consumer, TOPIC, "edge")  # type: ignore[arg-type]
    for offset in (3, 4):
        assert not position.caught_up
        consumer.say(3, offset, at=offset)
        position.poll(0)
    assert position.caught_up


def test_an_error_that_lasts_ends_the_process() -> None:
    """A broker that is away for a moment does not."""
    consumer = Consumer()
    position = Position(consumer, TOPIC, "edge")  # type: ignore[arg-type]
    consumer.fail(KafkaError._ALL_BROKERS_DOWN)
    position.poll(0)
    consumer.fail(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(WorldDown, match="Kafka of the cloud"):
        position.poll(0)
