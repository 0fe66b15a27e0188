"""A takeover in memory: the topics that a scorer reads back, and what was committed and audited."""

from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, Message, TopicPartition

from contract import records

AUDIT = {
    "partition": 0, "first_offset": 0, "scored": 1, "duplicates": 0, "late": 0,
    "rejected": 0, "model_version": 1, "scored_at": 0, "scorer": "s",
}  # fmt: skip


class Reader:
    """A Consumer outside any group, of topics in memory; a hole is an offset without a record."""

    def __init__(self) -> None:
        self.topics: dict[tuple[str, int], list[Message]] = {}
        self.low: dict[tuple[str, int], int] = {}
        self.high: dict[tuple[str, int], int] = {}
        self.partitions = {"scores.audit": 12, "car-state": 12}
        self.topic_id = "log-1"
        self.groups_at_work: set[str] = set()
        self.silent = False
        self._assigned: list[tuple[str, int, int]] = []

    def append(self, topic: str, partition: int, value: bytes | None, key: bytes | None = None) -> None:
        log = topic, partition
        offset = self.high.get(log, 0)
        self.high[log] = offset + 1
        message = Message(topic=topic, partition=partition, offset=offset, key=key, value=value)
        self.topics.setdefault(log, []).append(message)

    def hole(self, topic: str, partition: int) -> None:
        self.high[topic, partition] = self.high.get((topic, partition), 0) + 1

    def get_watermark_offsets(self, asked: TopicPartition, timeout: float) -> tuple[int, int]:
        key = asked.topic, asked.partition
        return self.low.get(key, 0), self.high.get(key, 0)

    def list_topics(self, timeout: float) -> Any:
        topics = {name: SimpleNamespace(partitions=range(count)) for name, count in self.partitions.items()}
        return SimpleNamespace(topics=topics)

    def assign(self, partitions: list[TopicPartition]) -> None:
        self._assigned = [(each.topic, each.partition, each.offset) for each in partitions]

    def unassign(self) -> None:
        self._assigned = []

    def pause(self, partitions: list[TopicPartition]) -> None:
        pass

    def resume(self, partitions: list[TopicPartition]) -> None:
        pass

    def consume(self, count: int, timeout_s: float) -> list[Message]:
        if self.silent:
            return []
        messages = []
        for topic, partition, begin in self._assigned:
            messages += [m for m in self.topics.get((topic, partition), []) if m.offset() >= begin]
            end = KafkaError(KafkaError._PARTITION_EOF)
            messages.append(Message(topic=topic, partition=partition, error=end))
        self._assigned = []
        return messages


def committed(offsets: dict[int, int], metadata: str = "log-1") -> list[TopicPartition]:
    """What the group has committed."""
    return [TopicPartition("telemetry", *each, metadata=metadata) for each in offsets.items()]


def audit(reader: Reader, last_offset: int, partition: int = 0, **source: str) -> None:
    record = AUDIT | {"last_offset": last_offset, "group": "scorer", "topic_id": reader.topic_id} | source
    reader.append("scores.audit", partition, records.encode("audit", record))
