"""The scorer's loop: read a batch, write its results, commit its offsets once the results are delivered."""

import logging
import time
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from contract.telemetry import Decoder
from contract.topics import TELEMETRY
from plumbing.health import Health
from plumbing.life import Stop, WorldDown
from scorer import gaps, metrics
from scorer.assignment import Assignment
from scorer.batch import PIECE_RECORDS, Batch
from scorer.departures import Departures
from scorer.detector import AnomalyDetector
from scorer.membership import Membership
from scorer.model_feed import ModelFeed
from scorer.results import Results
from scorer.scoring import Scored, score
from scorer.settings import Settings
from scorer.snapshots import Snapshots

_log = logging.getLogger("scorer")

_MODEL_WAIT_S = 0.1
_LAG_INTERVAL_S = 1.0
_EVIDENCE_WAIT_S = 1.0  # at the end, for the last evidence; it may be lost
_LASTING_ERRORS = (
    KafkaError._FATAL,  # its `fatal()` is false in a message
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
)


@dataclass(kw_only=True, eq=False)
class Pipeline:
    """One replica: its consumer, its models, one loop."""

    settings: Settings
    consumer: Consumer
    membership: Membership
    feed: ModelFeed
    results: Results
    decoder: Decoder
    detector: AnomalyDetector
    snapshots: Snapshots
    assignment: Assignment
    health: Health
    stop: Stop

    def __post_init__(self) -> None:
        bounds = self.settings.cars_max, self.settings.forget_days
        self._departures = Departures(self.detector, self.snapshots, *bounds)
        self._next_offsets: dict[int, int] = {}  # to score next, in each partition of this replica
        self._reassigned = False  # since the current batch was begun
        self._committed_at = self._lag_at = 0.0
        self._counted_at, self._counted_ms = time.monotonic(), time.time_ns() // 1_000_000  # last evidence

    def run(self) -> None:
        """Work until a stop is requested. Raises WorldDown where Kafka does not answer or take results."""
        try:
            self._run()
        except KafkaException as error:
            raise WorldDown(f"Kafka: {error}") from error

    def _run(self) -> None:
        self.stop.started()
        self.health.unready("no model yet")
        _log.info("waiting for the first model")
        while not self._newer_model(_MODEL_WAIT_S):
            if self.stop.requested:
                return
            self.health.progress()
        self._follow_trial()  # so that states of the challenger that are read back have their model
        # Without a model nothing is read, so that the first model scores from the earliest offset.
        self.consumer.subscribe(
            [TELEMETRY], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        self.results.standstill.moved()
        self.health.unready("not in the consumer group yet")
        joined = False
        while not self.stop.requested:
            if not joined and (self._next_offsets or self.membership.confirmed(time.monotonic())):
                joined = True
                self.health.ready()
            self._newer_model()
            self._follow_trial()
            if batch := self._consume():
                self._score(batch)
            elif snapshots := self.snapshots.due(time.monotonic(), with_a_batch=False):
                self.results.write(Scored(), snapshots)
            closings, deletions = self._departures.due(time.monotonic())
            if deletions:  # which are sent once Kafka has the closings
                self.results.write(Scored(alerts=closings), deletions)
                metrics.alerts_closed.inc(len(closings))
            self.results.settle()
            while len(self.results) > self.settings.in_flight_batches_max and not self.stop.requested:
                self.results.settle(0.01)
                self.health.progress()
            self._commit_when_due()
            if time.monotonic() - self._counted_at >= self.settings.evidence_interval_s:
                self._write_evidence()
            self.health.progress()
        self.health.unready("stopping")
        self._write_evidence()
        self._deliver_all()
        if len(self.results):  # closing would wait once more; after the restart they are scored again
            raise WorldDown(f"Kafka did not take the results of {len(self.results)} batches by the deadline")
        self.consumer.close()  # calls _on_revoke, which commits
        self.results.standstill.moved()
        self.results.deliver(min(_EVIDENCE_WAIT_S, self.stop.left_s), evidence=True)
        _log.info("stopped")

    def _newer_model(self, wait_s: float = 0.0) -> bool:
        """Take a newer model into use; returns whether there is one."""
        model = self.feed.poll(wait_s)
        if model is None:
            return False
        self.detector.add(model)
        metrics.model_swaps.inc()
        metrics.model_version.set(model.manifest.version)
        _log.info("model in use", extra={"version": model.manifest.version})
        return True

    def _follow_trial(self) -> None:
        """Begin, steer or end a trial, where the topic says so."""
        news, challenger = self.feed.challenger()
        if challenger:
            self.detector.challenge(challenger)
            share = challenger.manifest.decision.share
            _log.info("a challenger", extra={"version": challenger.manifest.version, "share": share})
        elif news:
            self.detector.end_trial()
            _log.info("no challenger")

    def _consume(self) -> Batch | None:
        """Wait for a record, then take what is there, up to a batch. None where nothing has come."""
        self._reassigned = False
        first = self.consumer.poll(self.settings.batch_wait_ms / 1_000)
        if first is None:
            return None
        messages, left, pieces = [first], self.settings.batch_records_max, []
        while True:
            count = min(left, PIECE_RECORDS)
            messages += self.consumer.consume(count - len(messages), 0)
            taken, left = len(messages), left - len(messages)
            if piece := self._piece(messages):
                pieces.append(piece)
            messages = []  # freed before the next ones are allocated
            if taken < count or not left:
                break
        self.results.standstill.check()
        if self._reassigned:  # a successor may already score the partitions that were given up
            pieces = [mine for piece in pieces if (mine := piece.only(self._next_offsets))]
        return Batch.joined(pieces) if pieces else None

    def _piece(self, messages: list[Message]) -> Batch | None:
        keys = list(map(Message.key, messages))
        if not all(keys):  # records have keys, the client's error reports do not
            messages = [message for message in messages if not self._is_error(message)]
            keys = list(map(Message.key, messages))
        return Batch.of(messages, keys) if messages else None

    def _is_error(self, message: Message) -> bool:
        """Whether a message is an error report of the client, which recovers from most errors by itself.

        Raises WorldDown for an error that lasts.
        """
        error: KafkaError | None = message.error()
        if error is None:
            return False
        if error.fatal() or error.code() in _LASTING_ERRORS:
            raise WorldDown(f"Kafka: {error.str()} (--group-protocol classic is for Kafka before 4.0)")
        _log.warning("kafka: %s", error)
        return True

    def _score(self, batch: Batch) -> None:
        now_ms = time.time_ns() // 1_000_000
        scored = score(
            batch,
            self.decoder,
            self.detector,
            now_ms=now_ms,
            scorer=self.settings.scorer_id,
            source=self.snapshots.source,
        )
        gaps.look(self.consumer, batch, self._next_offsets)
        self.results.write(scored, self.snapshots.due(time.monotonic(), with_a_batch=True))
        self._next_offsets |= {partition: last + 1 for partition, (_, last) in batch.spans.items()}
        metrics.scored.inc(sum(audit["scored"] for audit in scored.audits))
        metrics.duplicates.inc(sum(audit["duplicates"] for audit in scored.audits))
        metrics.late.inc(sum(audit["late"] for audit in scored.audits))
        metrics.anomalies.inc(len(scored.anomalies))
        for alert in scored.alerts:
            (metrics.alerts_opened if alert["action"] == "opened" else metrics.alerts_closed).inc()
        for error, _ in scored.rejected:
            metrics.rejected.labels(error.reason).inc()
        metrics.batch_records.observe(len(batch))
        metrics.batch_age_seconds.observe(max(0.0, (now_ms - scored.oldest_sample_ms) / 1_000))

    def _write_evidence(self) -> None:
        now_ms = time.time_ns() // 1_000_000
        evidence = self.detector.take_evidence(self.settings.scorer_id, self._counted_ms, now_ms)
        self.results.write_evidence(evidence)
        self._counted_at, self._counted_ms = time.monotonic(), now_ms

    def _commit_when_due(self) -> None:
        now = time.monotonic()
        if now - self._committed_at >= self.settings.commit_interval_ms / 1_000:
            self._committed_at = now
            if offsets := self._offsets_to_commit():
                self.consumer.commit(offsets=offsets, asynchronous=True)
        if now - self._lag_at >= _LAG_INTERVAL_S:
            self._lag_at = now
            self._measure_lag()

    def _offsets_to_commit(self) -> list[TopicPartition]:
        return [
            TopicPartition(TELEMETRY, partition, offset, metadata=self.snapshots.source.topic_id)
            for partition, offset in self.results.take_committable().items()
            if partition in self._next_offsets
        ]

    def _measure_lag(self) -> None:
        lag = 0
        for partition, offset in self._next_offsets.items():
            telemetry = TopicPartition(TELEMETRY, partition)
            _, high = self.consumer.get_watermark_offsets(telemetry, cached=True) or (0, 0)
            lag += max(0, high - offset)
        metrics.lag.set(lag)
        metrics.cars.set(len(self.detector.cars))
        learning, behind, strange = self.detector.generations.counts()
        metrics.cars_learning.set(learning)
        metrics.cars_behind.set(behind)
        metrics.cars_strange.set(strange)
        metrics.open_alerts.set(self.detector.open_alerts)
        trial = self.detector.trial
        metrics.challenger_version.set(trial.states.version if trial else 0)
        metrics.challenger_share.set(trial.share if trial else 0)
        metrics.challenger_learning.set(trial.learning if trial else 0)
        metrics.challenger_open.set(trial.alerts.open_levels if trial else 0)

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        self._reassigned = True
        if self.stop.requested or not assigned:  # before a stop nothing of them will be read
            consumer.incremental_assign(assigned)
            return
        self.results.standstill.check()
        started = time.perf_counter()
        try:
            starts = self.assignment.resume(consumer.committed(assigned, timeout=10))
        except KafkaException as error:  # the client does not pass its own exceptions through a callback
            raise WorldDown(f"Kafka: {error}") from error
        for each in assigned:
            each.offset = starts[each.partition]
        consumer.incremental_assign(assigned)
        self._next_offsets |= starts
        metrics.partitions.set(len(self._next_offsets))
        took_s = time.perf_counter() - started
        metrics.assignment_seconds.observe(took_s)
        _log.info("partitions taken over", extra={"partitions": sorted(starts), "ms": round(took_s * 1_000)})
        self.results.standstill.moved()

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        """Deliver all results and car states before the successor goes on."""
        if snapshots := self.snapshots.changed_in({each.partition for each in revoked}):
            self.results.write(Scored(), snapshots)
        self._give_up(consumer, revoked)

    def _on_lost(self, consumer: Consumer, lost: list[TopicPartition]) -> None:
        """Finish nothing: the successor, which the group has named, may have scored the same records."""
        self.results.abandon()
        self._give_up(consumer, lost)
        if self._next_offsets:  # their results are abandoned, too
            raise WorldDown("Kafka took some partitions away without notice, and left others")

    def _give_up(self, consumer: Consumer, given_up: list[TopicPartition]) -> None:
        self._deliver_all()
        self._reassigned = True
        if offsets := self._offsets_to_commit():
            try:
                consumer.commit(offsets=offsets, asynchronous=False)
            except KafkaException as error:  # the audit log has them too
                _log.warning("offsets not committed: %s", error)
        consumer.incremental_unassign(given_up)
        numbers = {each.partition for each in given_up}
        for partition in numbers:
            self._next_offsets.pop(partition, None)
        self.detector.cars.forget(numbers)
        self.snapshots.forget()
        metrics.partitions.set(len(self._next_offsets))
        if numbers:
            _log.info("partitions given up", extra={"partitions": sorted(numbers)})
        self.results.standstill.moved()

    def _deliver_all(self) -> None:
        self.results.deliver(min(self.settings.delivery_timeout_s, self.stop.left_s))
