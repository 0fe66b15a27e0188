"""Waits for anomalies on behalf of all cars of a process: one Kafka consumer, read on a thread of its own.

librdkafka is written in C and does not cooperate with gevent: a poll on the main thread would stop all cars.
The thread belongs to gevent's pool; between two reads the results reach the cars' greenlets.
"""

import contextlib
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


class Anomalies:
    """The anomalies topic from now on; anomalies that no car of this process waits for are ignored."""

    def __init__(self, bootstrap: str, properties: Path | None) -> None:
        """Raises KafkaException where Kafka does not answer."""
        self._expected: dict[bytes, tuple[int, AsyncResult[float]]] = {}  # (seq, result) by car id
        self._consumer = kafka.consumer(bootstrap, properties, group_id="load", fetch_wait_max_ms=10)
        topic = self._consumer.list_topics(ANOMALIES, timeout=_ANSWER_WITHIN_S).topics[ANOMALIES]
        partitions = [TopicPartition(ANOMALIES, number) for number in topic.partitions]
        # The end offsets are read now: librdkafka resolves its own OFFSET_END with the first read, too late.
        for partition in partitions:
            partition.offset = self._consumer.get_watermark_offsets(partition, timeout=_ANSWER_WITHIN_S)[1]
        self._consumer.assign(partitions)
        self._ended = False
        self._pool = ThreadPool(1)
        self._greenlet = gevent.spawn(self._run)

    def expect(self, car_id: str, seq: int) -> "AsyncResult[float]":
        """When the anomaly of this sample is read, s since 1970. A car can wait for one at a time."""
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
            read_at, seqs = self._pool.apply(self._read)
            for car_id, seq in seqs:
                expected_seq, result = self._expected[car_id]
                if seq == expected_seq:
                    result.set(read_at)
        self._pool.apply(self._consumer.close)

    def _read(self) -> tuple[float, list[tuple[bytes, int]]]:
        """On the thread: (time of the read, (car id, seq) of anomalies of our cars), within _POLL_S."""
        first, seqs = self._consumer.poll(_POLL_S), []
        messages, read_at = [first, *self._consumer.consume(_READ_MAX, 0)] if first else [], time.time()
        for message in messages:
            key = message.key() or b""
            if message.error() is None and key in self._expected:
                with contextlib.suppress(Malformed):  # then its car reports that no anomaly came
                    seqs.append((key, records.decode(message.value() or b"")[1]["seq"]))
        return read_at, seqs
