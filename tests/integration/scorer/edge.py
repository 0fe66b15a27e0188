"""The edge cluster as a test sees it, and what it sends there."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from confluent_kafka import (
    OFFSET_END,
    Consumer,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from contract import records
from contract.topics import ALERTS, ANOMALIES, AUDIT, EVIDENCE, REJECTED, TELEMETRY, edge_topics

PARTITIONS = {topic.name: topic.partitions for topic in edge_topics()}
MODELS = "cloud.models"


def until(condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
    """The first true result of `condition`; fails, naming `what`, where there is none in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.05)


class Edge:
    """The edge cluster as a test sees it, written and read by its own clients."""

    def __init__(self, bootstrap: str, name: str, telemetry_values: Callable[..., list[bytes]]) -> None:
        self.bootstrap, self.name = bootstrap, name
        self._values = telemetry_values
        self._sampled_at_ms: dict[tuple[str, int], int] = {}  # by car and seq
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 5}
        )
        self._admin = AdminClient({"bootstrap.servers": bootstrap})

    def empty(self) -> None:
        """Delete the records that earlier tests left on a cluster that is shared."""
        until(self._is_emptied, "the topics are empty")

    def _is_emptied(self) -> bool:
        topics = (TELEMETRY, ANOMALIES, ALERTS, REJECTED, AUDIT, EVIDENCE)
        ends = [TopicPartition(t, p, OFFSET_END) for t in topics for p in range(PARTITIONS[t])]
        try:
            for done in self._admin.delete_records(ends, request_timeout=20).values():
                done.result()
        except KafkaException:  # a broker that was stopped or starved has to find itself again
            return False
        return True

    def close(self) -> None:
        """Its clients end: none is left to miss Kafka after the last test."""
        self._producer.close()
        del self._producer, self._admin

    def publish(self, record: bytes) -> None:
        """A model record, under this test's own model name."""
        self.write(MODELS, record, self.name.encode())

    def send(
        self, cars: Sequence[str], seq: Sequence[int], signals: Any = None, *, flush: bool = True
    ) -> None:
        """Sound telemetry, as the bridge writes it: a sample that is sent again has its old time."""
        now_ms = time.time_ns() // 1_000_000
        times = [self._sampled_at_ms.setdefault(sample, now_ms) for sample in zip(cars, seq, strict=True)]
        for car, value in zip(cars, self._values(cars, seq, signals, np.array(times)), strict=True):
            self._producer.produce(TELEMETRY, value, car)
        self._producer.poll(0)
        if flush:
            assert self._producer.flush(20) == 0

    def write(self, topic: str, value: bytes | None, key: bytes | None = None, **where: Any) -> None:
        """Any bytes into any topic."""
        self._producer.produce(topic, value, key, **where)
        assert self._producer.flush(20) == 0

    def flush(self) -> None:
        assert self._producer.flush(30) == 0

    def ends(self, topic: str) -> dict[int, tuple[int, int]]:
        """Partition to its first and its next offset."""
        reader = self._reader()
        try:
            return {
                p: reader.get_watermark_offsets(TopicPartition(topic, p), timeout=10)
                for p in range(PARTITIONS[topic])
            }
        finally:
            reader.close()

    def read(self, topic: str) -> list[Message]:
        """All that is in the topic now, by partition and offset."""
        ends = {p: (low, high) for p, (low, high) in self.ends(topic).items() if low < high}
        reader, found = self._reader(), []
        left = sum(high - low for low, high in ends.values())
        reader.assign([TopicPartition(topic, p, low) for p, (low, _) in ends.items()])
        deadline = time.monotonic() + 20
        while len(found) < left:
            found += [m for m in reader.consume(5_000, 0.1) if m.error() is None]
            assert time.monotonic() < deadline, f"{len(found)} of {left} records of {topic} read"
        reader.close()
        return sorted(found, key=lambda m: (m.partition(), m.offset()))

    def decoded(self, topic: str) -> list[dict[str, Any]]:
        """The small records in the topic."""
        return [records.decode(message.value())[1] for message in self.read(topic)]

    def committed(self) -> dict[int, int]:
        """Partition to the group's offset."""
        member = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.name})
        try:
            partitions = [TopicPartition(TELEMETRY, number) for number in range(PARTITIONS[TELEMETRY])]
            committed = member.committed(partitions, timeout=10)
            return {each.partition: each.offset for each in committed if each.offset >= 0}
        finally:
            member.close()

    def scored_once(self) -> bool:
        """Whether the audit records cover the telemetry whole; fails where an offset is covered twice."""
        spans = defaultdict(list)
        for audit in self.decoded(AUDIT):
            spans[audit["partition"]].append((audit["first_offset"], audit["last_offset"]))
        whole = True
        for partition, (low, high) in self.ends(TELEMETRY).items():
            next_offset = low
            for first, last in sorted(spans[partition]):
                assert first >= next_offset, f"{partition}/{first} scored twice: {sorted(spans[partition])}"
                whole &= first == next_offset
                next_offset = last + 1
            whole &= next_offset == high
        return whole

    def anomalies(self) -> Counter[tuple[str, int]]:
        """(car, seq) of all anomalies, and how often each is there."""
        return Counter((anomaly["car_id"], anomaly["seq"]) for anomaly in self.decoded(ANOMALIES))

    def counts(self) -> dict[str, int]:
        """What the audit records say in all."""
        audits = self.decoded(AUDIT)
        return {name: sum(a[name] for a in audits) for name in ("scored", "duplicates", "late", "rejected")}

    def _reader(self) -> Consumer:
        return Consumer({"bootstrap.servers": self.bootstrap, "group.id": f"{self.name}-reader"})


class Load:
    """A fleet's telemetry at a steady rate, from a thread, gapless per car; every tenth seq is an anomaly."""

    def __init__(self, edge: Edge, mean: Any, cars: int, per_second: int) -> None:
        self._edge, self._mean, self._cars, self._per_second = edge, mean, cars, per_second
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._edge.flush()

    def _run(self) -> None:
        started = time.monotonic()
        while not self._end.wait(0.02):
            due = int((time.monotonic() - started) * self._per_second) - self.sent
            numbers = range(self.sent, self.sent + due)
            cars = [f"car-{number % self._cars:05d}" for number in numbers]
            seq = np.array([1 + number // self._cars for number in numbers])
            signals = np.where(seq[:, None] % 10 == 0, self._mean + 100, self._mean).astype(np.float32)
            self._edge.send(cars, seq, signals, flush=False)
            self.sent += due

    @property
    def anomalies(self) -> set[tuple[str, int]]:
        """(car, seq) of those sent."""
        every = ((number % self._cars, 1 + number // self._cars) for number in range(self.sent))
        return {(f"car-{car:05d}", seq) for car, seq in every if seq % 10 == 0}
