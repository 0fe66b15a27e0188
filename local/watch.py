"""What can be seen of a running deployment: metrics, the small topics of the edge, the cloud's telemetry."""

import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from contract import records
from contract.errors import Malformed
from contract.topics import ALERTS, ANOMALIES, MAINTENANCE, MODELS, TELEMETRY, is_challenger, mirrored
from plumbing import kafka, web

_SCRAPE_TIMEOUT_S = 1.0
_RECENT = 6
# Anomalies whose latency is kept: nearly three hours at 100 a second.
_LATENCIES_MAX = 1_000_000
# Alerts and reports that the reader has not yet taken.
_NEWS_MAX = 200_000


def scrape(port: int, host: str = "127.0.0.1") -> dict[str, float]:
    """The metrics of a service by name, added up over labels; empty where it does not answer.

    The buckets of a histogram keep their bound: `x_seconds_bucket{le=0.1}`.
    """
    try:
        with web.opened(f"http://{host}:{port}/metrics", timeout_s=_SCRAPE_TIMEOUT_S) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    values: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            bound = sample.labels.get("le")
            values[f"{sample.name}{{le={bound}}}" if bound else sample.name] += sample.value
    return dict(values)


@dataclass(frozen=True)
class Latency:
    """From the sampling in the car until a reader has the anomaly."""

    count: int  # anomalies
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True)
class Arrival:
    """A model that has arrived at the edge; times are s since 1970."""

    version: int
    published_at: float
    at_edge: float
    on_trial: bool = False  # as the challenger


@dataclass
class Observed:
    """Everything that was read so far; only the watch's thread writes it."""

    first_anomaly_at: float | None = None
    anomalies: int = 0
    cloud_records: int = 0
    recent: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_RECENT))
    # (type, record) of alerts and workshop reports, for one reader to take out.
    news: deque[tuple[str, dict[str, Any]]] = field(default_factory=lambda: deque(maxlen=_NEWS_MAX))
    models: list[Arrival] = field(default_factory=list)
    # (sampled at, s since 1970; latency in ms)
    latencies: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_LATENCIES_MAX))


class Watch:
    """Reads anomalies, alerts, workshop reports and models of the edge, and counts telemetry in the cloud.

    It reads in a thread of its own.
    """

    def __init__(self, edge_bootstrap: str, cloud_bootstrap: str) -> None:
        self.seen = Observed()
        self._edge = reader(edge_bootstrap, ANOMALIES, ALERTS, MAINTENANCE, mirrored("cloud", MODELS))
        # Records are only counted, so a few large answers a second will do.
        self._cloud = reader(cloud_bootstrap, mirrored("edge", TELEMETRY), fetch_min_bytes=65_536)
        self._ended = threading.Event()
        self._keys: set[tuple[str, int]] = set()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._ended.set()
        self._thread.join(timeout=5)

    def latency(self, since_s: float) -> Latency:
        """The latency of anomalies sampled at or after `since_s`, s since 1970."""
        values = [ms for at, ms in list(self.seen.latencies) if at >= since_s]
        if not values:
            return Latency(0, None, None)
        p50, p99 = np.percentile(values, [50, 99])
        return Latency(len(values), round(float(p50), 1), round(float(p99), 1))

    def _run(self) -> None:
        while not self._ended.is_set():
            # Anomalies are polled without delay; the cloud's records are only counted in between.
            wait_s = 0.02
            while (message := self._edge.poll(wait_s)) is not None:
                wait_s = 0.0
                self._take(message)
            self.seen.cloud_records += sum(m.error() is None for m in self._cloud.consume(10_000, 0))
        for consumer in (self._edge, self._cloud):
            consumer.close()

    def _take(self, message: Message) -> None:
        name, record = _record(message)
        if name == "anomaly":
            self._take_anomaly(record)
        elif name == "model":
            published_s = message.timestamp()[1] / 1000
            on_trial = is_challenger(message.key())
            self.seen.models.append(Arrival(record["version"], published_s, time.time(), on_trial))
        elif name:
            self.seen.news.append((name, record))

    def _take_anomaly(self, anomaly: dict[str, Any]) -> None:
        key, seen, now_s = (anomaly["car_id"], anomaly["seq"]), self.seen, time.time()
        if key in self._keys:
            return
        self._keys.add(key)
        sampled_s = anomaly["sampled_at"] / 1000
        seen.first_anomaly_at = seen.first_anomaly_at or now_s
        seen.anomalies += 1
        seen.recent.append(anomaly)
        seen.latencies.append((sampled_s, (now_s - sampled_s) * 1000))


def _record(message: Message) -> tuple[str, dict[str, Any]]:
    """(type, record) of a message; the type is "" for an error of the client and a malformed record."""
    value = message.value()
    if message.error() is not None or value is None:
        return "", {}
    try:
        return records.decode(value)
    except Malformed:  # dead letters and the ledger count these
        return "", {}


def reader(bootstrap: str, *topics: str, offset: int = OFFSET_BEGINNING, **overrides: Any) -> Consumer:
    """A consumer of all partitions of the topics from `offset` on, outside of any group's assignment."""
    # A broker answers as soon as it has a record; the wait only bounds how often it answers without one.
    consumer = kafka.consumer(bootstrap, **{"group_id": "watch", "fetch_wait_max_ms": 100, **overrides})
    partitions = {topic: consumer.list_topics(topic, timeout=20).topics[topic].partitions for topic in topics}
    consumer.assign(
        [TopicPartition(topic, number, offset) for topic in topics for number in partitions[topic]]
    )
    return consumer
