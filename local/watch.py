"""What the demo sees of a running deployment: metrics, anomalies as they appear, the cloud's log."""

import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Message, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from contract import records
from contract.errors import Malformed
from contract.topics import ANOMALIES, MODELS, TELEMETRY, mirrored
from plumbing import kafka

_SCRAPE_TIMEOUT_S = 1.0
_RECENT = 6
# Anomalies whose latency is kept; at 100 a second that is nearly three hours.
_LATENCIES_MAX = 1_000_000


def scrape(port: int, host: str = "127.0.0.1") -> dict[str, float]:
    """All samples of a service by name, labels added up; empty where it does not answer.

    A histogram's buckets keep their bound: `x_seconds_bucket{le=0.1}`, with all up to it.
    """
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=_SCRAPE_TIMEOUT_S) as answer:
            text = answer.read().decode()
    except (OSError, urllib.error.URLError):
        return {}
    values: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            bound = sample.labels.get("le")
            values[f"{sample.name}{{le={bound}}}" if bound else sample.name] += sample.value
    return dict(values)


@dataclass(frozen=True)
class Latency:
    """From a car's sample to its anomaly in a reader's hands, ms."""

    count: int
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True)
class Arrival:
    """A model's way to the edge, s since 1970: when it was published, and when it could be read there."""

    version: int
    published_at: float
    at_edge: float


@dataclass
class Seen:
    """Everything read so far; written by the watch's thread only."""

    first_anomaly_at: float | None = None
    anomalies: int = 0
    cloud_records: int = 0
    recent: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_RECENT))
    times_by_car: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    models: list[Arrival] = field(default_factory=list)
    # (sampled at, s since 1970; latency in ms)
    latencies: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_LATENCIES_MAX))


class Watch:
    """Reads anomalies and models (edge) and telemetry (cloud, counted only) on one thread of its own."""

    def __init__(
        self, edge_bootstrap: str, cloud_bootstrap: str, edge: str = "edge", cloud: str = "cloud"
    ) -> None:
        self.seen = Seen()
        self._anomalies = _from_the_start(edge_bootstrap, ANOMALIES)
        self._models = _from_the_start(edge_bootstrap, mirrored(cloud, MODELS))
        # Only counted: a few large answers a second instead of one for each transaction.
        self._cloud = _from_the_start(cloud_bootstrap, mirrored(edge, TELEMETRY), fetch_min_bytes=65_536)
        self._ended = threading.Event()
        self._keys: set[tuple[str, int]] = set()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._ended.set()
        self._thread.join(timeout=5)

    def latency(self, since_s: float) -> Latency:
        """Of the anomalies sampled at or after `since_s`, seconds since 1970."""
        values = [ms for at, ms in list(self.seen.latencies) if at >= since_s]
        if not values:
            return Latency(0, None, None)
        p50, p99 = np.percentile(values, [50, 99])
        return Latency(len(values), round(float(p50), 1), round(float(p99), 1))

    def _run(self) -> None:
        while not self._ended.is_set():
            # An anomaly is taken the moment it is there; the cloud's records are only counted.
            wait_s = 0.02
            while (message := self._anomalies.poll(wait_s)) is not None:
                wait_s = 0.0
                if anomaly := _record(message):
                    self._take(anomaly, time.time())
            while (message := self._models.poll(0)) is not None:
                if model := _record(message):
                    published_s = message.timestamp()[1] / 1000
                    self.seen.models.append(Arrival(model["version"], published_s, time.time()))
            self.seen.cloud_records += sum(m.error() is None for m in self._cloud.consume(10_000, 0))
        for consumer in (self._anomalies, self._models, self._cloud):
            consumer.close()

    def _take(self, anomaly: dict[str, Any], now_s: float) -> None:
        key = (anomaly["car_id"], anomaly["seq"])
        if key in self._keys:
            return
        self._keys.add(key)
        sampled_s = anomaly["sampled_at"] / 1000
        seen = self.seen
        seen.first_anomaly_at = seen.first_anomaly_at or now_s
        seen.anomalies += 1
        seen.recent.append(anomaly)
        seen.times_by_car[anomaly["car_id"]].append(sampled_s)
        seen.latencies.append((sampled_s, (now_s - sampled_s) * 1000))


def _record(message: Message) -> dict[str, Any] | None:
    """The record in a message; None for the client's reports and for what is malformed: not ours to judge."""
    value = message.value()
    if message.error() is not None or value is None:
        return None
    try:
        return records.decode(value)[1]
    except Malformed:
        return None


def _from_the_start(bootstrap: str, topic: str, **overrides: Any) -> Consumer:
    # A broker answers as soon as something comes; only how often it says "nothing" depends on the wait.
    consumer = kafka.consumer(bootstrap, group_id="watch", fetch_wait_max_ms=100, **overrides)
    partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    return consumer
