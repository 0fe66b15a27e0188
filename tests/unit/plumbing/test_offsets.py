"""Reading topics between two offsets of each partition."""

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from plumbing import offsets
from plumbing.life import WorldDown


class _Log:
    """A Consumer of topics with (first, next) offsets; there is a record at each offset except `holes`."""

    def __init__(self, *, batch: int = 3, **topics: dict[int, tuple[int, int]]) -> None:
        self.topics, self.batch = topics, batch
        self.holes: set[int] = set()
        self.silent = False
        self.errors: list[int] = []
        self.paused: set[tuple[str, int]] = set()
        self._next: dict[tuple[str, int], int] = {}

    def list_topics(self, timeout: float) -> Any:
        topics = {name: SimpleNamespace(partitions=held, error=None) for name, held in self.topics.items()}
        return SimpleNamespace(topics=topics)

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]:
        if self.errors:
            raise KafkaException(KafkaError(self.errors.pop()))
        return self.topics[partition.topic][partition.partition]

    def assign(self, partitions: list[TopicPartition]) -> None:
        self._next = {(each.topic, each.partition): each.offset for each in partitions}

    def unassign(self) -> None:
        self._next = {}

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused |= {(each.topic, each.partition) for each in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.paused -= {(each.topic, each.partition) for each in partitions}

    def consume(self, count: int, timeout: float) -> list[Message]:
        messages: list[Message] = []
        for (topic, partition), start in self._next.items():
            if self.silent or (topic, partition) in self.paused:
                continue
            high = self.topics[topic][partition][1]
            stop = min(start + self.batch, high)
            messages += [
                Message(topic=topic, partition=partition, offset=offset)
                for offset in range(start, stop)
                if offset not in self.holes
            ]
            if stop == high:
                end = KafkaError(KafkaError._PARTITION_EOF)
                messages.append(Message(topic=topic, partition=partition, offset=high, error=end))
            self._next[topic, partition] = stop
        return messages


def _read(
    log: Any, bounds: offsets.Bounds, **options: Any
) -> list[tuple[str | None, int | None, int | None]]:
    batches = offsets.read(log, bounds, **options)
    return [(each.topic(), each.partition(), each.offset()) for batch in batches for each in batch]


def test_every_record_between_the_bounds_is_read_once():
    """None before the first offset, none from the end on, and each partition's in order."""
    log: Any = _Log(a={0: (0, 20), 1: (5, 9)}, b={0: (0, 7), 1: (3, 3)})
    read = _read(log, {"a": {0: (2, 11), 1: (5, 9)}, "b": {0: (0, 7), 1: (3, 3)}})
    assert sorted(read) == [
        *(("a", 0, offset) for offset in range(2, 11)),
        *(("a", 1, offset) for offset in range(5, 9)),
        *(("b", 0, offset) for offset in range(7)),
    ]
    assert [offset for topic, number, offset in read if (topic, number) == ("a", 0)] == list(range(2, 11))
    assert log.paused == set()


def test_a_partition_can_be_read_again():
    """What was paused at its end is resumed."""
    log: Any = _Log(a={0: (0, 4)})
    assert _read(log, {"a": {0: (0, 4)}}) == _read(log, {"a": {0: (0, 4)}}) != []


def test_last_offsets_without_a_record_end_at_the_end_of_the_partition():
    """Markers of transactions are no records: the end of the partition says that nothing follows."""
    log: Any = _Log(a={0: (0, 6)})
    log.holes = {4, 5}
    assert [offset for *_, offset in _read(log, {"a": {0: (0, 6)}})] == [0, 1, 2, 3]


def test_nothing_to_read_asks_nothing():
    """Empty bounds do not touch the consumer."""
    assert _read(None, {"a": {0: (4, 4)}}) == []


def test_silence_is_bounded():
    """WorldDown names the partitions that gave nothing."""
    log: Any = _Log(a={0: (0, 6), 3: (0, 1)})
    log.silent = True
    with pytest.raises(WorldDown, match="nothing more of a/0, a/3 for 0 s"):
        _read(log, {"a": {0: (0, 6), 3: (0, 1)}}, silence_s_max=0.02)


def test_an_error_of_a_partition_ends_the_reading(monkeypatch: pytest.MonkeyPatch):
    """WorldDown with the partition and the error."""
    log: Any = _Log(a={0: (0, 6)})
    error = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    monkeypatch.setattr(log, "consume", lambda *_: [Message(topic="a", partition=0, error=error)])
    with pytest.raises(WorldDown, match=r"a/0: .*TOPIC_AUTHORIZATION_FAILED"):
        _read(log, {"a": {0: (0, 6)}})


def test_bounds_are_those_of_all_partitions():
    """(first offset, offset after the last) of each."""
    log: Any = _Log(a={0: (0, 20), 1: (5, 9)}, b={0: (1, 1)}, other={0: (0, 1)})
    assert offsets.bounds(log, ["a", "b"]) == {"a": {0: (0, 20), 1: (5, 9)}, "b": {0: (1, 1)}}
    with pytest.raises(WorldDown, match="no topic c"):
        offsets.bounds(log, ["c"])


def test_a_partition_without_a_leader_is_asked_again(monkeypatch: pytest.MonkeyPatch):
    """While it is new or moves; any other error, and no answer, is WorldDown at once."""
    monkeypatch.setattr(offsets, "_ASK_AGAIN_S", 0.001)
    log: Any = _Log(a={0: (0, 20)})
    log.errors = [KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION]
    assert offsets.bounds_of(log, "a", 0) == (0, 20)
    log.errors = [KafkaError._TRANSPORT]
    with pytest.raises(WorldDown, match="does not answer"):
        offsets.bounds_of(log, "a", 0)
    monkeypatch.setattr(log, "get_watermark_offsets", lambda *_, timeout: None)
    with pytest.raises(WorldDown, match="did not answer within 10 s"):
        offsets.bounds_of(log, "a", 0)
