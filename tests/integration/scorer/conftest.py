"""The scorer as a process against a real Kafka: what goes in, what comes out, what it says of itself."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import (
    OFFSET_END,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from prometheus_client.parser import text_string_to_metric_families

from contract import records
from contract.topics import ANOMALIES, AUDIT, REJECTED, TELEMETRY, edge_topics

PARTITIONS = {topic.name: topic.partitions for topic in edge_topics()}
MODELS = "cloud.models"
_METRICS_PORTS = iter(range(20_200, 20_400))
SCORED = "scorer_scored_records_total"


def until(condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
    """The first true result of `condition`; fails, naming `what`, where there is none in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.05)


class Edge:
    """The edge cluster as a test sees it: emptied before the test, written and read by its own clients."""

    def __init__(self, bootstrap: str, name: str, telemetry_values: Callable[..., list[bytes]]) -> None:
        self.bootstrap, self.name = bootstrap, name
        self._values = telemetry_values
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 5}
        )
        self._admin = AdminClient({"bootstrap.servers": bootstrap})
        until(lambda: self._empty(TELEMETRY, ANOMALIES, REJECTED, AUDIT), "the topics are empty")

    def _empty(self, *topics: str) -> bool:
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
        """Sound telemetry, as the bridge writes it."""
        for car, value in zip(cars, self._values(cars, seq, signals), strict=True):
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
        asked = [ConsumerGroupTopicPartitions(self.name)]
        (future,) = self._admin.list_consumer_group_offsets(asked).values()
        return {place.partition: place.offset for place in future.result().topic_partitions}

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


class Replica:
    """One scorer process with a metrics port of its own."""

    def __init__(self, edge: Edge, folder: Path, ordinal: int, *flags: str) -> None:
        self.port = _free_port()
        self._edge, self._folder, self._ordinal, self._flags = edge, folder, ordinal, flags
        self.start()

    def start(self) -> None:
        """Also again, after its end."""
        self.log_path = self._folder / f"scorer-{self._ordinal}-{time.monotonic_ns()}.log"
        settings = {
            "--kafka-bootstrap": self._edge.bootstrap,
            "--group-id": self._edge.name,
            "--model-name": self._edge.name,
            "--scorer-id": f"scorer-{self._ordinal}",
            "--metrics-port": f"{self.port}",
            "--log-format": "json",
        }
        flags = [part for pair in settings.items() for part in pair]
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scorer", *flags, *self._flags],
                stdout=log, stderr=log, cwd=Path(__file__).parents[3],
            )  # fmt: skip

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def probe(self, path: str) -> tuple[int, str]:
        """(status, text); status 0 where nothing answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_ready(self) -> None:
        until(lambda: self.alive and self.probe("/readyz")[0] == 200, f"ready: {self.log[-2000:]}")

    @property
    def alive(self) -> bool:
        assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.log[-3000:]}"
        return True

    def metric(self, name: str, **labels: str) -> float:
        """A sample's value, 0 where there is none."""
        _, text = self.probe("/metrics")
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return float(sample.value)
        return 0.0

    def wait_shows(self, name: str, value: float, **labels: str) -> None:
        """Until a sample has the value."""
        until(lambda: self.alive and self.metric(name, **labels) == value, f"{name} {labels} is {value}")

    def wait_scored(self, more: int) -> None:
        """Until so many more records are scored than now."""
        enough = self.metric(SCORED) + more
        until(lambda: self.alive and self.metric(SCORED) >= enough, f"{more} more records scored")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> tuple[int, float]:
        """SIGTERM: (exit status, seconds it took)."""
        started = time.monotonic()
        self.process.terminate()
        return self.process.wait(30), time.monotonic() - started


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


@pytest.fixture
def edge(
    edge_kafka: Any, request: pytest.FixtureRequest, telemetry_values: Callable[..., list[bytes]]
) -> Iterator[Edge]:
    name = f"scorer-{request.node.name[:60]}-{time.time_ns()}"
    edge = Edge(edge_kafka.bootstrap, name, telemetry_values)
    yield edge
    edge.close()


@pytest.fixture
def replica(edge: Edge, tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    """Starts scorers; ends them all after the test."""
    started: list[Replica] = []

    def start(*flags: str) -> Replica:
        started.append(Replica(edge, tmp_path, len(started), *flags))
        return started[-1]

    yield start
    for one in started:
        with contextlib.suppress(ProcessLookupError):
            one.signal(signal.SIGCONT)
        one.kill()


@pytest.fixture
def load(edge: Edge, detector: Any) -> Callable[..., Load]:
    """To be entered: telemetry flows until it is left."""
    return lambda cars, per_second: Load(edge, detector.mean, cars, per_second)


@pytest.fixture
def model_record(edge: Edge, detector: Any) -> Callable[..., bytes]:
    """Framed model records under this test's model name."""
    return lambda version=1, threshold=12.0, **other: detector.record(
        version, threshold, name=edge.name, **other
    )


def _free_port() -> int:
    for port in _METRICS_PORTS:  # each is given once: a replica binds it only a while later
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is left for metrics")
