"""What the scorer writes: anomalies, dead letters, audit records; and when their input may be committed."""

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, Producer

from contract import records
from contract.errors import Malformed
from contract.topics import ANOMALIES, AUDIT, REJECTED
from plumbing.life import WorldDown

_log = logging.getLogger("scorer")

_DETAIL_CHARS_MAX = 500


class _Batch:
    """The results of one batch; Kafka's reports count it down."""

    __slots__ = ("error", "next_offsets", "pending")

    def __init__(self, next_offsets: Mapping[int, int]) -> None:
        self.next_offsets = next_offsets
        self.pending = 0
        self.error: KafkaError | None = None

    def delivered(self, error: KafkaError | None, _message: Any) -> None:
        self.pending -= 1
        self.error = self.error or error


class Results:
    """Batches in order; `delivered_offsets` grows only by the longest prefix that Kafka has whole."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._batches: deque[_Batch] = deque()
        self._committable: dict[int, int] = {}

    def __len__(self) -> int:
        """Batches not delivered yet."""
        return len(self._batches)

    def write(
        self,
        anomalies: Sequence[Mapping[str, Any]],
        rejected: Sequence[tuple[Malformed, Any]],
        audits: Sequence[Mapping[str, Any]],
        next_offsets: Mapping[int, int],
    ) -> None:
        """Hand a batch's results to Kafka.

        `rejected`: the reason and the Kafka message; `next_offsets`: partition to the offset after the batch.
        """
        batch = _Batch(next_offsets)
        self._batches.append(batch)
        produce, report = self._producer.produce, batch.delivered
        for anomaly in anomalies:
            value = records.encode("anomaly", anomaly)
            produce(ANOMALIES, value, anomaly["car_id"], on_delivery=report)
        for error, message in rejected:
            headers = _headers(error, message)
            produce(REJECTED, message.value(), message.key(), headers=headers, on_delivery=report)
        for audit in audits:
            value = records.encode("audit", audit)
            produce(AUDIT, value, partition=audit["partition"], on_delivery=report)
        batch.pending += len(anomalies) + len(rejected) + len(audits)

    def settle(self, wait_s: float = 0.0) -> None:
        """Take in Kafka's delivery reports. Raises WorldDown for a result that Kafka did not take."""
        self._producer.poll(wait_s)
        while self._batches and self._batches[0].pending == 0:
            batch = self._batches.popleft()
            if batch.error is not None:
                raise WorldDown(f"Kafka did not take a result: {batch.error}")
            self._committable.update(batch.next_offsets)

    def take_committable(self) -> dict[int, int]:
        """Partition to next offset of what was delivered since the last call."""
        taken, self._committable = self._committable, {}
        return taken


def _headers(error: Malformed, message: Any) -> list[tuple[str, str | bytes | None]]:
    place = f"{message.topic()}/{message.partition()}/{message.offset()}"
    return [("reason", error.reason), ("detail", error.detail[:_DETAIL_CHARS_MAX]), ("kafka_record", place)]
