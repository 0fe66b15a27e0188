"""A pipeline between clients that the test controls, played round by round."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from confluent_kafka import TopicPartition

from contract import records
from contract.telemetry import Decoder
from contract.topics import EVIDENCE
from plumbing.health import Health
from plumbing.life import Stop
from scorer.detector import AnomalyDetector
from scorer.model import Model
from scorer.pipeline import Pipeline
from scorer.results import Results
from scorer.settings import Settings
from scorer.snapshots import Snapshots
from scorer.source import Source


class Scene:
    """A pipeline that plays one step of the test a round and is stopped after the last one."""

    def __init__(self, consumer: Any, producer: Any, decoder: Decoder, model: Model) -> None:
        self.consumer, self.producer, self.model = consumer, producer, model
        self.health, self.stop = Health(), Stop(deadline_s=1.0)
        self.calls: list[str] = []  # of the consumer, in order
        self.committed: list[tuple[int, int]] = []
        self.starts = {0: 0, 1: 0}
        self.in_group, self.asked_group = False, 0  # what the group says, and how often it was asked
        self.models: deque[Model | None] = deque([model])
        self.challengers: deque[Model | None] = deque()
        self.rounds: deque[Callable[[], None]] = deque()
        for name in ("subscribe", "incremental_assign", "incremental_unassign", "close", "commit"):
            setattr(consumer, name, self._note(name))
        consumer.committed = lambda partitions, timeout: partitions
        consumer.get_watermark_offsets = lambda partition, cached: (0, 100)
        self._consumer_poll, consumer.poll = consumer.poll, self._consume
        self._producer_poll, producer.poll = producer.poll, self._settle
        self.per_wait: int | None = None  # results delivered in each wait of the pipeline; None: all at once
        self.waits: list[int] = []  # results not delivered whenever the pipeline waited for Kafka
        self.detector = AnomalyDetector()
        self.pipeline = Pipeline(
            settings=Settings(kafka_bootstrap="127.0.0.1:1", scorer_id="s", commit_interval_ms=1),
            consumer=consumer,
            membership=self,  # type: ignore[arg-type]
            feed=self,  # type: ignore[arg-type]
            results=Results(producer, Source("scorer", "log-1")),
            decoder=decoder,
            detector=self.detector,
            snapshots=Snapshots(self.detector, "failure-detector", 0.02, lambda version: None),
            assignment=self,  # type: ignore[arg-type]
            health=self.health,
            stop=self.stop,
        )

    def run(self, *rounds: Callable[[], None]) -> None:
        self.rounds = deque([self.assign, *rounds])
        self.pipeline.run()

    def assign(self) -> None:
        self._on_assign(self.consumer, [TopicPartition("telemetry", p) for p in self.starts])

    def revoke(self, *partitions: int) -> None:
        self._on_revoke(self.consumer, [TopicPartition("telemetry", p) for p in partitions])

    def lose(self, *partitions: int) -> None:
        self._on_lost(self.consumer, [TopicPartition("telemetry", p) for p in partitions])

    def confirmed(self, now: float) -> bool:
        """Replaces Membership.confirmed."""
        self.asked_group += 1
        return self.in_group

    def resume(self, committed: list[TopicPartition]) -> dict[int, int]:
        """Replaces Assignment.resume."""
        return {each.partition: self.starts[each.partition] for each in committed}

    # The pipeline calls these.

    def poll(self, timeout_s: float = 0.0) -> Any:
        """Replaces ModelFeed.poll."""
        if self.models:
            return self.models.popleft()
        if not self.rounds:
            self.calls.append(self.health.not_ready_because)
            self.stop.request()
        return None

    def challenger(self) -> Any:
        """Replaces ModelFeed.challenger."""
        return (True, self.challengers.popleft()) if self.challengers else (False, None)

    def _consume(self, timeout_s: float) -> Any:
        if self.rounds:
            self.rounds.popleft()()
        else:
            self.stop.request()
        return self._consumer_poll(timeout_s)

    def _settle(self, timeout_s: float = 0.0) -> int:
        waiting = self.producer._waiting
        if timeout_s:
            if results := [topic for topic, _ in waiting if topic != EVIDENCE]:
                self.waits.append(len(results))
            time.sleep(timeout_s / 10)
        taken = len(waiting) if self.per_wait is None else self.per_wait if timeout_s else 0
        for topic, _ in waiting[:taken]:
            self.producer.deliver(topic)
        return int(self._producer_poll(timeout_s))

    def _note(self, name: str) -> Callable[..., None]:
        def noted(*_: Any, **arguments: Any) -> None:
            self.calls.append(name)
            if name == "close":
                self.revoke(*self.starts)
            if name == "subscribe":
                self._on_assign, self._on_revoke = arguments["on_assign"], arguments["on_revoke"]
                self._on_lost = arguments.get("on_lost")
            if name == "commit":
                self.committed += [(each.partition, each.offset) for each in arguments["offsets"]]

        return noted

    @property
    def written(self) -> list[str]:
        """The topic of each result, in order, without the evidence, which is written at every end."""
        return [topic for topic in self.producer.topics() if topic != EVIDENCE]

    @property
    def audited(self) -> list[tuple[int, int, int]]:
        """(partition, first offset, last offset) of each audit record written."""
        return [(a["partition"], a["first_offset"], a["last_offset"]) for a in self.audits]

    @property
    def audits(self) -> list[dict[str, Any]]:
        written = self.producer.produced
        return [records.decode(value)[1] for topic, value, _ in written if topic == "scores.audit"]
