"""What the cloud's log says about the models at work: read from where it matters on, then followed.

Nothing is kept elsewhere. Where another model becomes champion or challenger, the log is read anew.
"""

import time
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from contract import records
from contract.errors import Malformed
from contract.evidence import Evidence
from contract.foresight import AlertVerdicts
from contract.topics import ALERTS, EVIDENCE, MAINTENANCE, mirrored
from plumbing import kafka
from plumbing.life import WorldDown
from plumbing.offsets import Bounds, bounds, ends_of, reached
from trainer import reading
from trainer.watch.arrived import Arrived
from trainer.watch.counts import TrialCounts
from trainer.watch.looks import KEPT, Looks
from trainer.watch.models import Models
from trainer.watch.settings import Settings

_RECORDS_MAX = 2_000  # at once
_ANSWER_S_MAX = 10.0
_NO_ERRORS = (KafkaError._PARTITION_EOF, KafkaError._ALL_BROKERS_DOWN)


@dataclass(frozen=True)
class Wanted:
    """The topics of all edges."""

    evidence: tuple[str, ...]
    alerts: tuple[str, ...]
    reports: tuple[str, ...]

    @classmethod
    def by(cls, settings: Settings) -> "Wanted":
        """The topics of the edges that the settings name."""
        topics = (EVIDENCE, ALERTS, MAINTENANCE)
        return cls(*(tuple(mirrored(edge, topic) for edge in settings.edge_names) for topic in topics))

    @property
    def all(self) -> tuple[str, ...]:
        """Every topic."""
        return (*self.evidence, *self.alerts, *self.reports)


class Facts:
    """What was read about one champion and one challenger: a fold over records."""

    def __init__(self, settings: Settings, models: Models, arrived: Arrived) -> None:
        self.models, self._arrived = models, arrived
        champion, challenger = models.versions
        on_trial = models.challenger.decision.on_trial if models.challenger else 1.0
        self.counts = TrialCounts(champion or 0, challenger, models.began_ms, on_trial)
        self.looks = Looks(int(settings.look_every_s * 1000))
        self.verdicts = {
            version: AlertVerdicts(settings.horizon_s, settings.report_s)
            for version in models.versions
            if version is not None
        }
        self._name = settings.model_name

    def take(self, topic: str, name: str, record: dict[str, Any]) -> None:
        """Take a decoded record of a topic; what is about other models changes nothing."""
        if name == "evidence" and record["model_name"] == self._name:
            try:
                evidence = Evidence.of(record)
            except ValueError:  # of a scorer with other levels
                return
            source = (topic, evidence.scorer)
            self.counts.add(source, evidence)
            self._arrived.take(source, evidence)
            if evidence.share is None and evidence.model_version == self.models.versions[0]:
                self.looks.add(source, evidence)
        elif name == "alert":
            if verdicts := self.verdicts.get(record["model_version"]):
                verdicts.take_alert(record)
        elif name == "maintenance":
            for version, verdicts in self.verdicts.items():
                # What fails in a car that the challenger does not see it has not missed.
                if version != self.models.versions[1] or self.models.on_trial(record["car_id"]):
                    verdicts.take_report(record)


class Reader:
    """Follows the topics and folds their records into `facts`."""

    def __init__(self, settings: Settings, models: Models, arrived: Arrived) -> None:
        """Raises WorldDown."""
        self._settings, self._arrived = settings, arrived
        # One for life: with each client that is made anew the process grows by 1 MB.
        self._consumer = kafka.consumer(
            settings.kafka_bootstrap,
            settings.kafka_properties,
            group_id=f"watcher-{settings.model_name}",
            enable_partition_eof=True,
        )
        self.begin(models)

    def begin(self, models: Models) -> None:
        """Read from the beginning of what matters to these models. Raises WorldDown."""
        settings = self._settings
        self.facts = Facts(settings, models, self._arrived)
        self.since_s = time.monotonic()
        wanted, now_ms = Wanted.by(settings), time.time_ns() // 1_000_000
        looks_ms = int(KEPT * settings.look_every_s * 1000)
        first_ms = min(models.began_ms or now_ms, now_ms - looks_ms)
        begins = dict.fromkeys((*wanted.alerts, *wanted.reports), now_ms - int(settings.history_s * 1000))
        begins |= dict.fromkeys(wanted.evidence, max(first_ms, 0))
        try:
            held = bounds(self._consumer, begins)
            assigned = _at(self._consumer, begins, held)
            self._consumer.assign(assigned)
        except KafkaException as error:
            raise WorldDown(f"Kafka: {error}") from error
        # Reports come from the bridge, with the ids that it uses; all else from scorers.
        self._schemas = dict.fromkeys(wanted.reports, reading.report_schemas(settings))
        firsts = {(each.topic, each.partition): each.offset for each in assigned}
        self._behind = {place: end for place, end in ends_of(held).items() if firsts[place] < end}

    @property
    def caught_up(self) -> bool:
        """Whether all that there was at the beginning is read: before that nothing may be concluded."""
        return not self._behind

    def poll(self, wait_s: float) -> int:
        """Read what is there, waiting for at most `wait_s`; returns how many records. Raises WorldDown."""
        messages = self._consumer.consume(_RECORDS_MAX, wait_s)
        for message in messages:
            self._take(message)
        return len(messages)

    def close(self) -> None:
        """Leave the log."""
        self._consumer.close()

    def _take(self, message: Message) -> None:
        topic, value, error = message.topic() or "", message.value(), message.error()
        reached(self._behind, message)
        if error is not None and not error.retriable() and error.code() not in _NO_ERRORS:
            raise WorldDown(f"Kafka: {error}")
        if error is not None or value is None:
            return
        try:
            name, record = records.decode(value, self._schemas.get(topic))
        except Malformed:  # the scorers and the bridge count these
            return
        self.facts.take(topic, name, record)


def _at(consumer: Consumer, begins: dict[str, int], held: Bounds) -> list[TopicPartition]:
    """All partitions of the topics, at the first record from a time on, ms since 1970, of what they hold."""
    ends = {(topic, number): end for topic, each in held.items() for number, (_, end) in each.items()}
    asked = [TopicPartition(*each, begins[each[0]]) for each in ends]
    found = consumer.offsets_for_times(asked, _ANSWER_S_MAX)
    for each in found:  # -1 where there is none: what comes after the question was asked
        each.offset = each.offset if each.offset >= 0 else ends[each.topic, each.partition]
    return found
