"""Models on their topics: `models` (compacted, the champion) and `models.log` (every decision ever made).

One transaction writes both, so a reader of committed records sees a candidate whole or not at all. The
transactional id contains the model's name: a second trainer of that name fences off the first one, so no
version is given twice.
"""

import dataclasses
import logging
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from confluent_kafka import KafkaException, Producer

from contract.errors import Malformed
from contract.manifest import Decision, Manifest, pack, unpack
from contract.topics import MODELS, MODELS_LOG
from plumbing import kafka
from plumbing.life import WorldDown
from plumbing.offsets import bounds, read
from trainer import log_slice

_log = logging.getLogger("trainer")

_ANSWER_S_MAX = 30.0
# Two records take milliseconds. A transaction that a killed trainer left open blocks readers for so long.
_TRANSACTION_S_MAX = 10.0
_SETTLED_WITHIN_S, _LOOK_EVERY_S = 20.0, 0.05


class NotPublishable(ValueError):
    """The version that was asked for cannot be made the champion; the message says why."""


@dataclass(frozen=True)
class Entry:
    """A record of models or models.log."""

    manifest: Manifest
    tflite: bytes
    offset: int = 0  # in its topic, which has one partition


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

    def next_version(self) -> int:
        """One above the highest version that was ever decided about."""
        return 1 + max((entry.manifest.version for entry in self.history()), default=0)

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

    def write(self, manifest: Manifest, tflite: bytes) -> None:
        """Log the decision and, if it says published, make the model the champion: both or neither.

        To be called after `open`. Raises WorldDown when another trainer has taken over or Kafka does not
        answer.
        """
        if self._producer is None:
            raise RuntimeError("open() comes before write()")
        topics = [MODELS_LOG, MODELS] if manifest.decision.published else [MODELS_LOG]
        value = pack(manifest, tflite)
        try:
            self._producer.begin_transaction()
            for topic in topics:
                self._producer.produce(topic, key=self._name.encode(), value=value)
            self._producer.commit_transaction(_ANSWER_S_MAX)
            self._settle()
        except KafkaException as error:
            raise WorldDown(f"version {manifest.version} was not written: {error}") from error

    def roll_back(self, version: int) -> Manifest:
        """Make an earlier published version the champion again; the manifest's decision says so.

        Raises NotPublishable, WorldDown.
        """
        self.open()
        champion = self.champion()
        entry = newest_published(self.history(), version)
        if champion and champion.manifest.version == version:
            raise NotPublishable(f"version {version} is the champion already")
        instead = f" instead of version {champion.manifest.version}" if champion else ""
        decision = Decision(published=True, reasons=(f"rolled back{instead}",))
        manifest = dataclasses.replace(entry.manifest, decision=decision)
        self.write(manifest, entry.tflite)
        return manifest

    def _settle(self) -> None:
        """Wait until readers see every transaction: a commit returns before its markers are written."""
        topics, deadline = (MODELS, MODELS_LOG), time.monotonic() + _SETTLED_WITHIN_S
        group = f"trainer-{self._name}"
        every = kafka.consumer(*self._cluster, group_id=group, isolation_level="read_uncommitted")
        with closing(every), closing(kafka.consumer(*self._cluster, group_id=group)) as committed:
            while bounds(committed, topics) != bounds(every, topics):
                if time.monotonic() > deadline:
                    raise WorldDown(f"a transaction on {' or '.join(topics)} stays open")
                time.sleep(_LOOK_EVERY_S)

    def _entries(self, topic: str) -> list[Entry]:
        """The model's records; those that cannot be read are logged and left out."""
        entries: list[Entry] = []
        with closing(log_slice.consumer(*self._cluster, f"trainer-{self._name}")) as consumer:
            for message in chain.from_iterable(read(consumer, bounds(consumer, [topic]))):
                value = message.value()
                if message.key() != self._name.encode() or value is None:
                    continue
                try:
                    entries.append(Entry(*unpack(value), message.offset() or 0))
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


def newest_published(history: Sequence[Entry], version: int) -> Entry:
    """As `newest`; raises NotPublishable for a version that was refused, too."""
    entry = newest(history, version)
    if not entry.manifest.decision.published:
        raise NotPublishable(f"version {version} was refused: {'; '.join(entry.manifest.decision.reasons)}")
    return entry
