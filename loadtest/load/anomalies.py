"""Waits for anomalies on behalf of all cars of a process: one Kafka consumer, read on a thread of its own.

librdkafka is C and knows nothing of gevent: a poll on the main thread would stop every car. The thread is a
real one of gevent's pool; between two reads its result reaches the cars' greenlets.
"""

import time
from pathlib import Path

import gevent
from confluent_kafka import TopicPartition
from gevent.event import AsyncResult
from gevent.threadpool import ThreadPool

from contract import records
from contract.errors import Malformed
from contract.topics import ANOMALIES
from plumbing import kafka

_POLL_S = 0.1
_READ_MAX = 1_000
_ANSWER_WITHIN_S = 5.0

# (car id, seq, when it was read: s since 1970)
Seen = tuple[str, int, float]


class Anomalies:
    """Everything on the topic from now on; what no car of ours waits for is passed over."""

    def __init__(self, bootstrap: str, properties: Path | None) -> None:
        """Raises KafkaException where Kafka does not answer."""
        self._expected: dict[bytes, tuple[int, AsyncResult[float]]] = {}
        self._consumer = kafka.consumer(bootstrap, properties, group_id="load", fetch_wait_max_ms=10)
        topic = self._consumer.list_topics(ANOMALIES, timeout=_ANSWER_WITHIN_S).topics[ANOMALIES]
        places = [TopicPartition(ANOMALIES, number) for number in topic.partitions]
        # Asked for now: librdkafka looks up its own "end" only with the first read, too late for a first car.
        for place in places:
            place.offset = self._consumer.get_watermark_offsets(place, timeout=_ANSWER_WITHIN_S)[1]
        self._consumer.assign(places)
        self._ended = False
        self._pool = ThreadPool(1)
        self._greenlet = gevent.spawn(self._run)

    def expect(self, car_id: str, seq: int) -> "AsyncResult[float]":
        """When the anomaly of this sample was read, s since 1970; one a car at a time."""
        result: AsyncResult[float] = AsyncResult()
        self._expected[car_id.encode()] = (seq, result)
        return result

    def close(self) -> None:
        """Stop reading."""
        self._ended = True
        self._greenlet.join()
        self._pool.kill()

    def _run(self) -> None:
        while not self._ended:
            for car_id, seq, read_at in self._pool.apply(self._read):
                wanted, result = self._expected.get(car_id.encode(), (None, None))
                if result is not None and seq == wanted:
                    result.set(read_at)
        self._pool.apply(self._consumer.close)

    def _read(self) -> list[Seen]:
        """On the thread: what is there, after at most _POLL_S."""
        first = self._consumer.poll(_POLL_S)
        if first is None:
            return []
        messages, read_at = [first, *self._consumer.consume(_READ_MAX, 0)], time.time()
        ours = [m.value() for m in messages if m.error() is None and m.key() in self._expected]
        return [(car_id, seq, read_at) for value in ours if value for car_id, seq in _of(value)]


def _of(value: bytes) -> list[tuple[str, int]]:
    try:
        _, record = records.decode(value)
    except Malformed:  # not ours to judge; its car will say that no anomaly came
        return []
    return [(record["car_id"], record["seq"])]
