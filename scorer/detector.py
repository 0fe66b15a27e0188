"""Everything known of this replica's cars, and the results of one more batch of their samples."""

import logging
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.evidence import Evidence
from contract.joined import Joined
from contract.telemetry import Decoded, Floats
from scorer import metrics
from scorer.alerts import Alert, Alerts
from scorer.cars import ByCar, CarTable, Mask, Rounds, Rows
from scorer.deviations import beyond
from scorer.evidence import Bounds, Counts, Standing
from scorer.findings import AlertWriter, Detections, Findings
from scorer.generations import Generations, Part
from scorer.index import CarNumbers
from scorer.model import Model
from scorer.seen import PACE_MAX, SeenSequences, Sifted
from scorer.shares import Components
from scorer.trial import Broken, Trial, Verdict

_log = logging.getLogger("scorer")

NO_SEQ = -1  # seq of a car's state before its first sample
# More rows in one call of the graph do not stay in the processor's cache between its operators.
_CALL_ROWS_MAX = 1_000
# Samples of a car in a batch that move its state, each in a call of its own; of more see `Rounds.crowded`.
ROUNDS_MAX = 200
_BACKLOG_MS_MAX = 24 * 3_600_000  # as long as telemetry is kept
# Alerts that nobody is shown, written in an interval of evidence; more are counted.
_UNSEEN_MAX = 1_000

AlertRecord = dict[str, Any]  # of the schema alert, without `scored_at`


class Found(NamedTuple):
    """The results of a batch."""

    detections: Detections
    alerts: list[AlertRecord]  # that open or close
    unseen: list[AlertRecord]  # likewise, by the model of a trial that does not score the car


class AnomalyDetector:
    """The cars, the sequence numbers seen of them, the models' states of them, and their alerts."""

    def __init__(self) -> None:
        self.cars = CarTable()
        self.seen = SeenSequences(self.cars)
        self.alerts = Alerts(self.cars)
        self.generations = Generations(self.cars)
        # The last seq and newest time in a car's state, and whether it has changed since it was written.
        self.seq = self.cars.column(NO_SEQ, np.int64)
        self.sampled_at = self.cars.column(0, np.int64)
        self.changed = self.cars.column(False, np.bool_)
        self.trial: Trial | None = None
        self._components = Components({})
        self._bounds = Bounds()
        self._ended: list[Standing] = []  # challengers that did something since the last evidence
        self._unseen_left = _UNSEEN_MAX

    def add(self, model: Model) -> None:
        """Make a model the newest one, from the next batch on; a challenger keeps what it has learned."""
        trial, version = self.trial, model.manifest.version
        if trial and trial.states.version == version and version not in self.generations.versions:
            self._note_end(trial)
            trial.promote(model, self.generations)
            self.trial = None
            self.changed.values[: len(self.cars)] = True
        else:
            self.generations.add(model)
            if trial and trial.states.version == version:
                self.end_trial()
        self._components = Components(model.manifest.components)
        if model.manifest.state:
            self.seen.interval_ms = 1_000 * model.manifest.state.sample_interval_s

    def challenge(self, model: Model) -> None:
        """Put a model on trial beside those at work, or go on with it at another share of the cars."""
        version = model.manifest.version
        if version == self.generations.newest.version:
            self.end_trial()
        elif self.trial and self.trial.states.version == version:
            self.trial.update(model)
        else:
            self.end_trial()
            self.trial = Trial(model, self.cars, self.alerts)

    def end_trial(self) -> None:
        """Withdraw the challenger, if there is one."""
        if self.trial:
            self._note_end(self.trial)
            self.trial.end()
            self.trial = None
            self.changed.values[: len(self.cars)] = True  # with the next records the challenger's are deleted

    def _note_end(self, trial: Trial) -> None:
        self._ended.append(trial.standing(ended=True))

    def sift(self, keys: Joined, partitions: NDArray[np.int32], decoded: Decoded) -> tuple[ByCar, Sifted]:
        """m records by car, and what they are."""
        by_car = ByCar.of(self.cars.numbers(keys, partitions))
        return by_car, self.seen.sift(by_car, decoded.seq, decoded.sampled_at_ms)

    def detect(self, by_car: ByCar, sifted: Sifted, decoded: Decoded, *, counts: bool = True) -> Found:
        """Score the fresh ones of m records, those of a car in their order.

        `counts`: whether they are counted as evidence.

        A late record is scored but changes neither the state nor the alert of its car, which are newer. The
        same holds for a record that is not newer than the state that was read back, and for crowded ones.
        """
        fresh, late, _ = sifted
        self.cars.now_ms = int(decoded.sampled_at_ms.max(initial=self.cars.now_ms))
        moving = fresh & ~late & self._newer(by_car, decoded)
        rounds = by_car.rounds(moving)
        if len(rounds.spans) > ROUNDS_MAX:
            apart_ms, since_ms = self.seen.interval_ms / PACE_MAX, self.cars.now_ms - _BACKLOG_MS_MAX
            crowded = rounds.crowded(ROUNDS_MAX, decoded.sampled_at_ms, apart_ms, since_ms)
            metrics.crowded.inc(len(crowded))
            moving[crowded] = False
            rounds = by_car.rounds(moving)
        # `take` copies rows in a fifth of the time that an index takes.
        rows, cars, signals = rounds.rows, rounds.cars, decoded.signals.take(rounds.rows, axis=0)
        sides = Findings(len(rows)), Findings(len(rows))
        # Without states no score depends on the sample before, so all rounds go into the graph together.
        calls = rounds if self._stateful else replace(rounds, spans=[slice(0, len(rows))])
        for span in calls.pieces(_CALL_ROWS_MAX):
            self._score(cars[span], signals[span], rows[span], sides, span, counts=counts)
        still = np.flatnonzero(fresh & ~moving)
        if len(still):
            self._score(by_car.cars[still], decoded.signals[still], still, sides)
        found = self._found(rounds, sides, decoded, counts=counts)
        if counts:
            self._bounds.check(decoded.signals)
        self._note_moved(by_car, moving, decoded)
        return found

    def _newer(self, by_car: ByCar, decoded: Decoded) -> Mask:
        """(m,) which records are newer than their cars' states: by seq, or by time where seq began anew."""
        newer: Mask = decoded.seq > self.seq.values[by_car.cars]
        if not newer.all():
            newer |= decoded.sampled_at_ms > self.sampled_at.values[by_car.cars]
        return newer

    @property
    def _stateful(self) -> bool:
        return self.generations.stateful or (self.trial is not None and self.trial.states.layout is not None)

    def remember(self, keys: Joined, partitions: NDArray[np.int32], decoded: Decoded) -> None:
        """Take in m records that were scored before: they count as seen, and move older states on."""
        by_car, sifted = self.sift(keys, partitions, decoded)
        newer = sifted.fresh & ~sifted.late & self._newer(by_car, decoded)
        self.detect(by_car, sifted._replace(fresh=newer), decoded, counts=False)

    def _score(
        self,
        cars: CarNumbers,
        signals: Floats,
        rows: Rows,
        sides: tuple[Findings, Findings],
        span: slice | None = None,
        *,
        counts: bool = False,
    ) -> None:
        """Score n samples, by the models at work and by the challenger; without a span no state moves."""
        moves = span is not None
        score, contribution, ages, parts = self.generations.step(cars, signals, moves)
        counts = counts and moves
        if counts:
            for part in parts:
                part.states.counts.judged += part.states.judged(part.after)
        visible = None
        if self.trial and (verdict := self._try(self.trial, cars, signals, parts, moves)):
            if counts:
                self.trial.states.counts.judged += verdict.judged
            mine, serves = verdict.rows, verdict.serves
            at = span if span is None or isinstance(mine, slice) else span.start + mine
            shown = np.zeros(len(verdict.score), np.bool_) if serves is None else serves
            threshold = self.trial.states.model.threshold
            sides[1].add(rows[mine], verdict.score, verdict.contribution, threshold, span=at, visible=shown)
            if serves is not None:
                visible = np.ones(len(cars), np.bool_)
                visible[mine] = ~serves
        thresholds = self.generations.thresholds(ages)
        sides[0].add(rows, score, contribution, thresholds, ages=ages, span=span, visible=visible)

    def _try(
        self, trial: Trial, cars: CarNumbers, signals: Floats, parts: list[Part], moves: bool
    ) -> Verdict | None:
        """What the challenger says, if anything; where it is broken there is none any more."""
        try:
            return trial.step(cars, signals, parts, moves)
        except Broken as error:
            metrics.challengers_dropped.inc()
            _log.error("the challenger is withdrawn here: %s", error, extra={"version": trial.states.version})
            self.end_trial()
            return None

    def _found(
        self, rounds: Rounds, sides: tuple[Findings, Findings], decoded: Decoded, *, counts: bool
    ) -> Found:
        generations, ids = self.generations, self.cars.ids
        rule = generations.newest.model.manifest.alert
        advanced = self.alerts.advance(rounds, sides[0].shares, rule)
        detections, visible = sides[0].detections(decoded, lambda age: generations.by_age(age).model.manifest)
        changed = []
        if advanced.changes:
            writer = AlertWriter(self.alerts, generations.scored_by, self._components, ids)
            changed = writer.changed(rounds, advanced, detections, decoded)
        for car, _ in changed:
            self.changed.values[car] = True
        trial = self.trial
        if not trial:
            if counts:
                self.generations.count(advanced.crossings)
            # Where a challenger broke in this batch, some of these were not to be seen.
            return Found(detections, [record for _, record in changed], [])
        states = trial.states
        other = trial.alerts.advance(rounds, sides[1].shares, states.model.manifest.alert)
        others, others_visible = sides[1].detections(decoded, lambda _: states.model.manifest)
        writer = AlertWriter(trial.alerts, lambda _: states, trial.components, ids)
        others_changed = writer.changed(rounds, other, others, decoded)
        serves = trial.serves.values
        seen = [record for car, record in changed if not serves[car]]
        seen += [record for car, record in others_changed if serves[car]]
        unseen = [record for car, record in changed if serves[car]]
        unseen += [record for car, record in others_changed if not serves[car]]
        if counts:
            self.generations.count(advanced.crossings)
            states.counts.cross(other.crossings)
            states.counts.alone += trial.alone(other.crossings, self.alerts)
            generations.newest.counts.alone += trial.alone(advanced.crossings, trial.alerts)
            unseen = self._bounded(unseen)
        return Found(detections.only(visible).joined(others.only(others_visible)), seen, unseen)

    def _bounded(self, unseen: list[AlertRecord]) -> list[AlertRecord]:
        """The alerts that may still be written in this interval; the others are counted."""
        written, more = unseen[: self._unseen_left], unseen[self._unseen_left :]
        self._unseen_left -= len(written)
        by_version = self.generations.versions | (
            {self.trial.states.version: self.trial.states} if self.trial else {}
        )
        for record in more:
            by_version[record["model_version"]].counts.unwritten += 1
        return written

    @property
    def open_alerts(self) -> int:
        """The number of open alerts that people see."""
        if self.trial is None:
            return len(self.alerts)
        known = slice(0, len(self.cars))
        mine, theirs = self.alerts.is_open.values[known], self.trial.alerts.is_open.values[known]
        return int(np.count_nonzero(np.where(self.trial.serves.values[known], theirs, mine)))

    def visible_alert(self, car: int) -> Alert | None:
        """The open alert of a car that people see."""
        served = self.trial is not None and self.trial.serves.values[car]
        return self.trial.alerts.get(car) if self.trial and served else self.alerts.get(car)

    def take_evidence(self, scorer: str, since_ms: int, until_ms: int) -> list[Evidence]:
        """What was counted since the last call, of every model that did anything."""
        known, (checked, broken) = len(self.cars), self._bounds.take()
        learning, _, strange = self.generations.counts()
        standings, self._ended, self._unseen_left = self._ended, [], _UNSEEN_MAX
        for states in self.generations.versions.values():
            standing = Standing(manifest=states.model.manifest, share=None, counts=states.counts)
            if states is self.generations.newest:
                standing = replace(
                    standing,
                    checked=checked,
                    broken=broken,
                    cars=known,
                    learning=learning,
                    strange=strange,
                    open=self.alerts.open_levels,
                    signals=beyond(states, known),
                )
            standings.append(standing)
            states.counts = Counts()
        if self.trial:
            standings.append(self.trial.standing())
        return [each.evidence(scorer, since_ms, until_ms) for each in standings if each.did_anything]

    def _note_moved(self, by_car: ByCar, moving: Mask, decoded: Decoded) -> None:
        """Note the last sample in the cars' states; sorted, so of several of a car the last one is stored.

        The time is the newest one. Were it that of the last sample, then after a car's clock was set back its
        samples from before would look newer than its state, and a takeover would add them once more.
        """
        rows, cars = by_car.chosen(moving)
        self.seq.values[cars] = decoded.seq.take(rows)
        np.maximum.at(self.sampled_at.values, cars, decoded.sampled_at_ms.take(rows))
        if self._stateful:  # without states the levels come back with the remembered records
            self.changed.values[cars] = True
