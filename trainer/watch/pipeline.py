"""The watcher's loop: read what has come, look, decide.

It keeps nothing: a successor reads the same log and comes to the same conclusion. A decision is a transaction
that is taken only where champion and challenger still are those that were judged (trainer/trial.py).
"""

import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from contract.topics import MODELS, MODELS_LOG
from plumbing import kafka
from plumbing.health import Health
from plumbing.life import Stop
from plumbing.offsets import Bounds, bounds
from trainer import trial
from trainer.publication import NotPublishable, Publication
from trainer.watch import metrics, models, shown
from trainer.watch.arrived import Arrived
from trainer.watch.gathered import trial_of
from trainer.watch.looks import PastLook, lasting, lasts_since_ms
from trainer.watch.reader import Reader, Wanted
from trainer.watch.settings import Settings
from trainer.watch.training import Training, reason_against
from trainer.watch.verdict import Trial, Verdict, judge

_log = logging.getLogger("watcher")

_FIGURE = re.compile(r"\d[\d.,e+-]*")
_POLL_S = 0.2
_REREAD_SHARE = 1 / 30  # of the history: what is too old to matter leaves the memory after so long
_RETRY_SHARE = 0.1  # of the cool-down: so soon after a training that ended without a decision


@dataclass(kw_only=True, eq=False)
class Pipeline:
    """One watcher: its reader, its publication, one loop."""

    settings: Settings
    publication: Publication
    training: Training
    health: Health
    stop: Stop
    now_s: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._models, self._ends = models.Models(), Bounds()
        self._arrived = Arrived(self.settings.edge_names, int(self.now_s() * 1_000))
        self._reader: Reader | None = None
        self._look_at = 0.0
        self._retry_at = 0.0
        self._logged: dict[str, tuple[str, ...]] = {}

    def run(self) -> None:
        """Work until a stop is requested. Raises WorldDown."""
        consumer = kafka.consumer(
            self.settings.kafka_bootstrap, self.settings.kafka_properties, group_id="watcher"
        )
        kafka.wait_for_topics(consumer, (*Wanted.by(self.settings).all, MODELS, MODELS_LOG), stop=self.stop)
        while not self.stop.requested:
            if self._reader is None or time.monotonic() >= self._look_at:
                self._look_at = time.monotonic() + self.settings.look_every_s
                self._follow_models(bounds(consumer, (MODELS, MODELS_LOG)))
                self._look()
            assert self._reader is not None
            behind = not self._reader.caught_up
            self._reader.poll(_POLL_S)
            if behind and self._reader.caught_up:
                self.stop.started()  # before, nothing was decided and no training begun
                self._look_at = 0.0
            self.health.progress()
        self.health.unready("stopping")
        self.training.stop(self.stop.left_s / 2)
        if self._reader:
            self._reader.close()
        consumer.close()
        _log.info("stopped")

    def _follow_models(self, ends: Bounds) -> None:
        """Read the models again where they have changed, and the log where others are at work."""
        if ends != self._ends:
            self._ends, before = ends, self._models
            self._models = models.read(self.publication)
            if self._reader and before == self._models:
                self._reader.facts.models = self._models
        reader = self._reader
        if (
            reader
            and reader.facts.models == self._models
            and time.monotonic() - reader.since_s < _REREAD_SHARE * self.settings.history_s
        ):
            return
        self.health.unready("reading the log")
        champion, challenger = self._models.versions
        _log.info("reading the log", extra={"champion": champion, "challenger": challenger})
        if reader:
            reader.begin(self._models)
        else:
            self._reader = Reader(self.settings, self._models, self._arrived)

    def _look(self) -> None:
        """Conclude from what was read, once all that there is was read."""
        reader = self._reader
        if reader is None or not reader.caught_up:
            return
        self.health.ready()
        facts, now_s = reader.facts, self.now_s()
        looks = facts.looks.over()
        evidence = trial_of(facts, self.settings, now_s)
        verdict = judge(evidence, self.settings.rules) if evidence else None
        shown.measure(facts, looks, evidence, verdict, now_s)
        if evidence and verdict:
            self._say("trial", (verdict.action, *verdict.reasons), version=evidence.challenger.version)
            self._act(evidence, verdict)
        self._train_when_due(looks, now_s)

    def _act(self, evidence: Trial, verdict: Verdict) -> None:
        """Take the decision, if it is one."""
        if verdict.action in ("wait", "hold"):
            return
        version, seen = (
            evidence.challenger.version,
            trial.Seen(evidence.champion.version, evidence.challenger.version, evidence.share),
        )
        about: dict[str, Any] = {"evidence": evidence.as_dict(), "seen": seen}
        try:
            if verdict.action == "withdraw":
                trial.withdraw(self.publication, version, verdict.reasons, **about)
            else:
                challenger = self._models.challenger
                threshold = challenger.threshold * verdict.multiple if challenger else None
                trial.promote(self.publication, version, verdict.reasons, threshold=threshold, **about)
        except NotPublishable as error:  # a person was faster
            _log.info("not decided: %s", error)
        else:
            metrics.decisions.labels(verdict.action).inc()
            _log.info("decided: %s", verdict.action, extra={"version": version})
        self._look_at = 0.0

    def _train_when_due(self, looks: Sequence[PastLook], now_s: float) -> None:
        """Start a training where a drift lasts, unless something speaks against it."""
        if (status := self.training.ended()) is not None:
            metrics.trainings.labels(str(status)).inc()
            _log.info("the training has ended", extra={"status": status})
            self._retry_at = now_s + _RETRY_SHARE * self.settings.cool_down_s
        drifts = lasting(looks, self.settings.looks)
        self._say("drift", tuple(drift.reason for drift in drifts))
        if not drifts or self.settings.train_with == "none" or self.training.running:
            return
        # A moved signal splits a car's telemetry; cars that are new or learned anew have their own.
        since_s = lasts_since_ms(looks) / 1000 if any(drift.kind == "signal" for drift in drifts) else 0.0
        against = reason_against(
            self._models, looks[-1], self.settings, now_s=now_s, since_s=since_s, retry_at_s=self._retry_at
        )
        self._say("no training", (against,) if against else ())
        if not against:
            since = datetime.fromtimestamp(since_s, UTC).isoformat(timespec="seconds") if since_s else ""
            reasons = [drift.reason for drift in drifts]
            _log.info(
                "a training starts: the fleet has changed", extra={"reasons": reasons, "learns_from": since}
            )
            self.training.start(since)

    def _say(self, what: str, words: tuple[str, ...], **about: object) -> None:
        """Log what is seen when it changes, not at every look; figures alone are no change."""
        key = tuple(_FIGURE.sub("", word) for word in words)
        if key == self._logged.get(what, ()):
            return
        self._logged[what] = key
        _log.info(what, extra={"says": list(words) or ["no more"], **about})
