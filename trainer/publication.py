"""Models on their topics: `models` (compacted, the champion, and under another key the challenger that is on
trial beside it), `models.log` (every decision ever made), and `models.exam` (compacted, telemetry on which
the next candidate is judged, in parts: judge/exam.py).

One transaction writes all, so a reader of committed records sees a candidate whole or not at all. The
transactional id contains the model's name: a second trainer of that name fences off the first one, so no
version is given twice.
"""

import dataclasses
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer

from contract.errors import Malformed
from contract.manifest import Decision, Manifest, pack, unpack
from contract.topics import MODELS, MODELS_EXAM, MODELS_LOG, challenger_key
from plumbing import kafka
from plumbing.life import WorldDown
from plumbing.offsets import bounds, exists, read
from trainer import log_slice

_log = logging.getLogger("trainer")

_ANSWER_S_MAX = 30.0
# Two records take milliseconds. A transaction that a killed trainer left open blocks readers for so long.
_TRANSACTION_S_MAX = 10.0
_SETTLED_WITHIN_S, _LOOK_EVERY_S = 20.0, 0.01


# Of the newest versions. A roll-back to an older one leaves the next candidate without an exam.
EXAMS_KEPT = 3
EXAM_PART_BYTES_MAX = 900_000  # a record has to stay below 1 MB


class NotPublishable(ValueError):
    """The version that was asked for cannot be made the champion; the message says why."""


@dataclass(frozen=True)
class Entry:
    """A record of models or models.log."""

    manifest: Manifest
    tflite: bytes
    offset: int = 0  # in its topic, which has one partition
    written_ms: int = 0  # since 1970, by Kafka's clock


class Publication:
    """The topics of one model name on the cloud cluster."""

    def __init__(self, bootstrap: str, properties: Path | None, name: str) -> None:
        self._cluster = (bootstrap, properties)
        self._name = name
        self._producer: Producer | None = None

    def history(self) -> list[Entry]:
        """Every decision about this model, oldest first. Raises WorldDown."""
        return self._entries(MODELS_LOG)

    def champion(self) -> Entry | None:
        """The model that the scorers run. Raises WorldDown."""
        entries = self._entries(MODELS)
        return entries[-1] if entries else None

    def challenger(self) -> Entry | None:
        """The model that is on trial beside the champion. Raises WorldDown."""
        entries = self._entries(MODELS, challenger_key(self._name))
        return entries[-1] if entries else None

    def next_version(self) -> int:
        """One above the highest version that was ever decided about."""
        return 1 + max((entry.manifest.version for entry in self.history()), default=0)

    def exam(self, version: int) -> bytes:
        """The packed exam of this version; empty where none was kept. Raises WorldDown."""
        parts = self._exams().get(version, {})
        keys = sorted(parts)
        if not keys or len(keys) != int(keys[0].rpartition(b"/")[2]):
            return b""
        return b"".join(parts[key] for key in keys)

    def open(self) -> None:
        """Become the only publisher of this model: others are fenced off, their open transactions aborted."""
        self._producer = kafka.producer(
            *self._cluster,
            transactional_id=f"trainer-{self._name}",
            transaction_timeout_ms=int(_TRANSACTION_S_MAX * 1000),
        )
        try:
            self._producer.init_transactions(_ANSWER_S_MAX)
            self._settle()
        except KafkaException as error:
            raise WorldDown(f"cannot become the publisher of {self._name}: {error}") from error

    def write(self, manifest: Manifest, tflite: bytes, exam: bytes = b"") -> None:
        """Log the decision and, if it says published, make the model the champion: both or neither.

        Where the decision has a share, the model becomes the challenger instead.

        A trial ends where a champion is written, and where its own version is written as not published. A
        published model's `exam` is kept with it, and exams of versions before the newest EXAMS_KEPT are
        deleted. To be called after `open`. Raises WorldDown when another trainer has taken over or Kafka does
        not answer.
        """
        if self._producer is None:
            raise RuntimeError("open() comes before write()")
        value, name, decision = pack(manifest, tflite), self._name.encode(), manifest.decision
        trial_key, challenger = challenger_key(self._name).encode(), self.challenger()
        records: list[tuple[str, bytes, bytes | None]] = [(MODELS_LOG, name, value)]
        if decision.published:
            records.append((MODELS, name if decision.share is None else trial_key, value))
            records += self._exam_records(manifest.version, exam) if exam else []
        promoted = decision.published and decision.share is None
        withdrawn = not decision.published and challenger and challenger.manifest.version == manifest.version
        if challenger and (promoted or withdrawn):
            records.append((MODELS, trial_key, None))
        try:
            self._producer.begin_transaction()
            for topic, key, value_or_none in records:
                self._producer.produce(topic, key=key, value=value_or_none)
            self._producer.commit_transaction(_ANSWER_S_MAX)
            self._settle()
        except KafkaException as error:
            raise WorldDown(f"version {manifest.version} was not written: {error}") from error

    def _exam_records(self, version: int, exam: bytes) -> list[tuple[str, bytes, bytes | None]]:
        """(topic, key, value) of an exam's parts and of the deletion of old exams; none without the topic."""
        if MODELS_EXAM not in self._topics():
            _log.warning("no topic %s: the exam is not kept (docs/operations.md)", MODELS_EXAM)
            return []
        starts = range(0, len(exam), EXAM_PART_BYTES_MAX)
        keys = [f"{self._name}/{version}/{part:02}/{len(starts):02}".encode() for part in range(len(starts))]
        parts = [exam[start : start + EXAM_PART_BYTES_MAX] for start in starts]
        exams, champion = self._exams(), self.champion()
        kept = {version} | ({champion.manifest.version} if champion else set())
        old = sorted(exams.keys() - kept)[: len(kept) - EXAMS_KEPT]
        gone = [(MODELS_EXAM, key, None) for each in old for key in exams[each]]
        return [*((MODELS_EXAM, key, part) for key, part in zip(keys, parts, strict=True)), *gone]

    def _exams(self) -> dict[int, dict[bytes, bytes]]:
        """The parts of all exams of this model: {version: {key: part}}; empty without the topic."""
        exams: dict[int, dict[bytes, bytes]] = {}
        if MODELS_EXAM not in self._topics():
            return exams
        reader = self._reader
        for message in chain.from_iterable(read(reader, bounds(reader, [MODELS_EXAM]))):
            key = message.key() or b""
            name, *numbers = key.rsplit(b"/", 3)
            if name != self._name.encode() or len(numbers) != 3 or not b"".join(numbers).isdigit():
                continue
            parts, value = exams.setdefault(int(numbers[0]), {}), message.value()
            if value is None:
                parts.pop(key, None)
            else:
                parts[key] = value
        return {version: parts for version, parts in exams.items() if parts}

    def _topics(self) -> tuple[str, ...]:
        """The model topics that the cluster has: one from before exams has no topic for them."""
        return tuple(topic for topic in (MODELS, MODELS_LOG, MODELS_EXAM) if exists(self._reader, topic))

    @cached_property
    def _reader(self) -> Consumer:
        """Kept for all questions: Kafka's first answer to a new client takes 60 ms, each further one 1 ms."""
        return log_slice.consumer(*self._cluster, f"trainer-{self._name}")

    @cached_property
    def _uncommitted(self) -> Consumer:
        """Sees what transactions that are still open have written."""
        group = f"trainer-{self._name}"
        return kafka.consumer(*self._cluster, group_id=group, isolation_level="read_uncommitted")

    def roll_back(self, version: int) -> Manifest:
        """Make an earlier champion the champion again; the manifest's decision says so. A trial ends.

        Raises NotPublishable, WorldDown.
        """
        self.open()
        champion = self.champion()
        entry = newest_published(self.history(), version, as_champion=True)
        if champion and champion.manifest.version == version:
            raise NotPublishable(f"version {version} is the champion already")
        instead = f" instead of version {champion.manifest.version}" if champion else ""
        decision = Decision(published=True, reasons=(f"rolled back{instead}",))
        manifest = dataclasses.replace(entry.manifest, decision=decision)
        self.write(manifest, entry.tflite)
        return manifest

    def _settle(self) -> None:
        """Wait until readers see every transaction: a commit returns before its markers are written."""
        topics, deadline = self._topics(), time.monotonic() + _SETTLED_WITHIN_S
        while bounds(self._reader, topics) != bounds(self._uncommitted, topics):
            if time.monotonic() > deadline:
                raise WorldDown(f"a transaction on {' or '.join(topics)} stays open")
            time.sleep(_LOOK_EVERY_S)

    def _entries(self, topic: str, key: str = "") -> list[Entry]:
        """The records of the model's name, or of another key since the last one of it was deleted.

        Those that cannot be read are logged and left out.
        """
        entries: list[Entry] = []
        for message in chain.from_iterable(read(self._reader, bounds(self._reader, [topic]))):
            value = message.value()
            if message.key() != (key or self._name).encode():
                continue
            if value is None:  # the end of a trial; a champion's record stays the champion's
                entries = [] if key else entries
                continue
            try:
                entries.append(Entry(*unpack(value), message.offset() or 0, message.timestamp()[1]))
            except Malformed as error:
                _log.warning("%s: offset %s: %s", topic, message.offset(), error)
        return entries


def newest(history: Sequence[Entry], version: int) -> Entry:
    """The newest record of a version, published or refused. Raises NotPublishable for an unknown version."""
    entries = [entry for entry in history if entry.manifest.version == version]
    if not entries:
        known = sorted({entry.manifest.version for entry in history})
        raise NotPublishable(f"no version {version}; known are {', '.join(map(str, known)) or 'none'}")
    return entries[-1]


def newest_published(history: Sequence[Entry], version: int, *, as_champion: bool = False) -> Entry:
    """The newest record that says that the version passed the gate or, `as_champion`, was the champion.

    Raises NotPublishable for a version of which there is none.
    """
    decision = newest(history, version).manifest.decision
    entries = [each for each in history if each.manifest.version == version]
    passed = [each for each in entries if each.manifest.decision.published]
    if not passed:
        raise NotPublishable(f"version {version} was refused: {'; '.join(decision.reasons)}")
    if as_champion and not (passed := [e for e in passed if e.manifest.decision.share is None]):
        raise NotPublishable(f"version {version} was never the champion: promote {version}")
    return passed[-1]
