"""The results of batches on their way to Kafka, and the order in which they are written."""

import logging
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, Producer

from contract import records
from contract.errors import dead_letter
from contract.evidence import Evidence
from contract.topics import ALERTS, ANOMALIES, AUDIT, CAR_STATE, EVIDENCE, REJECTED, TELEMETRY
from plumbing.life import WorldDown
from scorer import metrics
from scorer.scoring import Scored
from scorer.source import Source
from scorer.standstill import Standstill
from scorer.trial_snapshots import Snapshot

_log = logging.getLogger("scorer")

# Records of evidence that Kafka has not confirmed; more are dropped.
_EVIDENCE_MAX = 5_000


@dataclass(slots=True)
class _Batch:
    """The results of one batch; delivery reports count `pending` down."""

    audits: Sequence[Mapping[str, Any]]
    snapshots: Sequence[Snapshot]
    pending: int = 0  # messages of the current step that Kafka has not confirmed
    error: KafkaError | None = None

    def delivered(self, error: KafkaError | None, _message: Any) -> None:
        self.pending -= 1
        self.error = self.error or error


class Results:
    """Batches in order, each in three steps: anomalies, alerts and dead letters; audit records; car states.

    A successor goes on after the last audit record. So an audit record must not be in Kafka before the
    results that it stands for, and a car state not before the audit records of the samples in it. A batch
    takes the next step once Kafka has its messages of this step and all earlier batches have taken it.

    Records of evidence are sent in between. Nothing waits for them: what Kafka does not take is counted.
    """

    def __init__(self, producer: Producer, source: Source, prefix: str = "") -> None:
        """`source`: whose log the records are of; `prefix`: put before the names of all topics."""
        self._producer = producer
        self._source = source
        self._prefix = prefix
        self._first: deque[_Batch] = deque()  # anomalies, alerts and dead letters are on their way
        self._second: deque[_Batch] = deque()  # audit records are on their way
        self._third: deque[_Batch] = deque()  # car states are on their way
        self._committable: dict[int, int] = {}
        self.standstill = Standstill()
        self.evidence_pending = 0  # records of evidence that Kafka has not confirmed

    def __len__(self) -> int:
        """Number of batches that Kafka does not have whole."""
        return len(self._first) + len(self._second) + len(self._third)

    def write(self, scored: Scored, snapshots: Sequence[Snapshot] = ()) -> None:
        """Send anomalies, alerts and dead letters of a batch; `settle` sends audit records and car states."""
        batch = _Batch(scored.audits, snapshots)
        self._first.append(batch)
        for key, value in scored.anomalies:
            self._produce(batch, ANOMALIES, value, key=key)
        for alert in scored.alerts:
            self._produce(batch, ALERTS, records.encode("alert", alert), key=alert["car_id"])
        for alert in scored.unseen:
            self._witness(records.encode("alert", alert), alert["car_id"])
        for error, record in scored.rejected:
            source = ("kafka_record", f"{TELEMETRY}/{record.partition}/{record.offset}")
            log = ("kafka_topic_id", self._source.topic_id)
            value, headers = dead_letter(record.value, error, source, log)
            self._produce(batch, REJECTED, value, key=record.key, headers=headers)

    def write_evidence(self, evidence: Iterable[Evidence]) -> None:
        """Send evidence of models, keyed by the scorer."""
        for each in evidence:
            self._witness(records.encode("evidence", each.record()), each.scorer)

    def settle(self, wait_s: float = 0.0) -> None:
        """Serve delivery reports and take the next steps.

        Raises WorldDown for a result Kafka refused, and where this process stood still.
        """
        self._poll(wait_s)
        while self._first and self._first[0].pending == 0:
            batch = _checked(self._first.popleft())
            self._second.append(batch)
            for audit in batch.audits:
                self._produce(batch, AUDIT, records.encode("audit", audit), partition=audit["partition"])
        while self._second and self._second[0].pending == 0:
            batch = _checked(self._second.popleft())
            self._committable |= {audit["partition"]: audit["last_offset"] + 1 for audit in batch.audits}
            self._third.append(batch)
            for partition, key, value in batch.snapshots:
                self._produce(batch, CAR_STATE, value, key=key, partition=partition)
        while self._third and self._third[0].pending == 0:
            _checked(self._third.popleft())

    def deliver(self, within_s: float, *, evidence: bool = False) -> None:
        """Settle until Kafka has all batches, and on demand the evidence, at most so long."""
        deadline = time.monotonic() + within_s
        while (len(self) or (evidence and self.evidence_pending)) and time.monotonic() < deadline:
            self.settle(0.01)

    def abandon(self) -> None:
        """Take no further steps: what Kafka already was sent may still be settled."""
        for batch in (*self._first, *self._second):
            batch.audits, batch.snapshots = (), ()
        self._committable = {}

    def take_committable(self) -> dict[int, int]:
        """Partition to the offset to commit, by the audit records delivered since the last call."""
        committable, self._committable = self._committable, {}
        return committable

    def _witness(self, value: bytes, key: str) -> None:
        if self.evidence_pending >= _EVIDENCE_MAX:
            metrics.evidence_lost.inc()
            return
        try:
            self._producer.produce(self._prefix + EVIDENCE, value, key=key, on_delivery=self._witnessed)
        except BufferError:
            metrics.evidence_lost.inc()
        else:
            self.evidence_pending += 1

    def _witnessed(self, error: KafkaError | None, _message: Any) -> None:
        self.evidence_pending -= 1
        if error is not None:
            metrics.evidence_lost.inc()
            _log.warning("Kafka did not take evidence: %s", error)

    def _produce(self, batch: _Batch, topic: str, value: bytes | None, **options: Any) -> None:
        batch.pending += 1
        while True:
            try:
                return self._producer.produce(
                    self._prefix + topic, value, on_delivery=batch.delivered, **options
                )
            except BufferError:  # the client's queue is full until a message is delivered or times out
                self._poll(0.1)

    def _poll(self, wait_s: float) -> None:
        self._producer.poll(wait_s)
        self.standstill.check()


def _checked(batch: _Batch) -> _Batch:
    if batch.error is not None:
        raise WorldDown(f"Kafka did not take a result: {batch.error}")
    return batch
