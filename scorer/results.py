"""What the scorer writes: anomalies, alerts, dead letters, audit records, car states; and in which order."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, Producer

from contract import records
from contract.dead_letter import dead_letter
from contract.errors import Malformed
from contract.topics import ALERTS, ANOMALIES, AUDIT, CAR_STATE, REJECTED, TELEMETRY
from plumbing.life import WorldDown
from scorer.snapshots import Snapshot


class _Batch:
    """The results of one batch; Kafka's reports count them down."""

    __slots__ = ("audits", "error", "next_offsets", "pending", "snapshots")

    def __init__(
        self,
        audits: Sequence[Mapping[str, Any]],
        next_offsets: Mapping[int, int],
        snapshots: Sequence[Snapshot],
    ) -> None:
        self.audits = audits
        self.next_offsets = next_offsets
        self.snapshots = snapshots
        self.pending = 0
        self.error: KafkaError | None = None

    def delivered(self, error: KafkaError | None, _message: Any) -> None:
        self.pending -= 1
        self.error = self.error or error


class Results:
    """Batches in order, each in three steps: anomalies, alerts and dead letters; audit records; car states.

    A successor goes on after the last audit record, so that must not be in Kafka before what it vouches for,
    nor may a state be of samples that will be scored again. In each step only the longest prefix of batches
    that Kafka has whole goes on.
    """

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._unaudited: deque[_Batch] = deque()
        self._audited: deque[_Batch] = deque()
        self._kept: deque[_Batch] = deque()
        self._committable: dict[int, int] = {}

    def __len__(self) -> int:
        """Batches not delivered yet."""
        return len(self._unaudited) + len(self._audited) + len(self._kept)

    def write(
        self,
        *,
        anomalies: Sequence[tuple[bytes, bytes]] = (),
        alerts: Sequence[Mapping[str, Any]] = (),
        rejected: Sequence[tuple[Malformed, Any]] = (),
        audits: Sequence[Mapping[str, Any]] = (),
        next_offsets: Mapping[int, int] | None = None,
        snapshots: Sequence[Snapshot] = (),
    ) -> None:
        """Hand a batch's results to Kafka; `settle` sends the audit records after them, then the car states.

        `anomalies`: key and value; `rejected`: the reason and the record; `next_offsets`: partition to
        the offset after the batch.
        """
        batch = _Batch(audits, next_offsets or {}, snapshots)
        self._unaudited.append(batch)
        for key, value in anomalies:
            self._produce(batch, ANOMALIES, value, key=key)
        for alert in alerts:
            self._produce(batch, ALERTS, records.encode("alert", alert), key=alert["car_id"])
        for error, record in rejected:
            source = ("kafka_record", f"{TELEMETRY}/{record.partition}/{record.offset}")
            value, headers = dead_letter(record.value, error, source)
            self._produce(batch, REJECTED, value, key=record.key, headers=headers)

    def settle(self, wait_s: float = 0.0) -> None:
        """Take in Kafka's delivery reports. Raises WorldDown for a result that Kafka did not take."""
        self._producer.poll(wait_s)
        while self._unaudited and self._unaudited[0].pending == 0:
            batch = _sound(self._unaudited.popleft())
            self._audited.append(batch)
            for audit in batch.audits:
                self._produce(batch, AUDIT, records.encode("audit", audit), partition=audit["partition"])
        while self._audited and self._audited[0].pending == 0:
            batch = _sound(self._audited.popleft())
            self._committable.update(batch.next_offsets)
            self._kept.append(batch)
            for partition, key, value in batch.snapshots:
                self._produce(batch, CAR_STATE, value, key=key, partition=partition)
        while self._kept and self._kept[0].pending == 0:
            _sound(self._kept.popleft())

    def take_committable(self) -> dict[int, int]:
        """Partition to next offset of what was delivered since the last call."""
        taken, self._committable = self._committable, {}
        return taken

    def _produce(self, batch: _Batch, topic: str, value: bytes, **where: Any) -> None:
        batch.pending += 1
        while True:
            try:
                return self._producer.produce(topic, value, on_delivery=batch.delivered, **where)
            except BufferError:  # the client's own bound; it ends with a delivery or with its timeout
                self._producer.poll(0.1)


def _sound(batch: _Batch) -> _Batch:
    if batch.error is not None:
        raise WorldDown(f"Kafka did not take a result: {batch.error}")
    return batch
