"""Everything known of this replica's cars, and the results of one more batch of their samples."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.evidence import Evidence
from contract.joined import Joined
from contract.manifest import Manifest
from contract.telemetry import SIGNALS, Decoded, Floats
from contract.varints import Longs
from scorer.alerts import Advanced, Alert, Alerts
from scorer.cars import ByCar, CarTable, Mask, Rounds, Rows
from scorer.evidence import Bounds, Counts, Crossings
from scorer.generations import Ages, Generations
from scorer.index import CarNumbers
from scorer.model import Model
from scorer.model_states import ModelStates
from scorer.seen import SeenSequences
from scorer.shares import Components, Shares, named, shares_of

# Of the scores over the threshold in one call of the graph: rows, scores, contributions, ages of the models.
_Hits = tuple[Rows, Floats, Floats, Ages]

_NO_SEQ = -1  # seq of a car's state before its first sample
# More rows in one call of the graph do not stay in the processor's cache between its operators.
_CALL_ROWS_MAX = 2_000


@dataclass(frozen=True)
class Detections:
    """The h of m records with a score over the threshold."""

    rows: Rows  # (h,) rows of the records among the m
    scores: Floats  # (h,)
    shares: Shares  # (h, signals) share of each signal in the score
    manifests: list[Manifest]  # of the model that scored, for each of the h


class AnomalyDetector:
    """The cars, the sequence numbers seen of them, the models' states of them, and their alerts."""

    def __init__(self) -> None:
        self.cars = CarTable()
        self.seen = SeenSequences(self.cars)
        self.alerts = Alerts(self.cars)
        self.generations = Generations(self.cars)
        # Of the last sample in a car's state, and whether the state has changed since it was written.
        self.seq = self.cars.column(_NO_SEQ, np.int64)
        self.sampled_at = self.cars.column(0, np.int64)
        self.changed = self.cars.column(False, np.bool_)
        self._components = Components({})
        self._bounds = Bounds()

    def add(self, model: Model) -> None:
        """Make a model the newest one, from the next batch on."""
        self.generations.add(model)
        self._components = Components(model.manifest.components)

    def sift(self, keys: Joined, partitions: NDArray[np.int32], seq: Longs) -> tuple[ByCar, Mask, Mask]:
        """(m records by car, fresh (m,), late (m,)); see `SeenSequences.sift`."""
        by_car = ByCar.of(self.cars.numbers(keys, partitions))
        return by_car, *self.seen.sift(by_car, seq)

    def detect(
        self, by_car: ByCar, fresh: Mask, late: Mask, decoded: Decoded, *, counts: bool = True
    ) -> tuple[Detections, list[dict[str, Any]]]:
        """Score the fresh ones of m records, those of a car in their order.

        `counts`: whether they are counted as evidence.

        Returns also the records of the schema alert, without `scored_at`, of alerts that open or close.

        A late record is scored but changes neither the state nor the alert of its car, which are newer. The
        same holds for a record that is not newer than the state that was read back.
        """
        moving = fresh & ~late & (decoded.seq > self.seq.values[by_car.cars])
        rounds = by_car.rounds(moving)
        # `take` copies rows in a fifth of the time that an index takes.
        rows, cars, signals = rounds.rows, rounds.cars, decoded.signals.take(rounds.rows, axis=0)
        shares = np.empty(len(rows), np.float32)
        hits = []
        # Without states no score depends on the sample before, so all rounds go into the graph together.
        whole = [slice(0, len(rows))]
        for span in _pieces(rounds.spans if self.generations.stateful else whole):
            shares[span], hit = self._score(cars[span], signals[span], rows[span], counts=counts)
            hits.append(hit)
        still = np.flatnonzero(fresh & ~moving)
        if len(still):
            hits.append(self._score(by_car.cars[still], decoded.signals[still], still, moves=False)[1])
        detections = self._detections(hits, decoded)
        advanced = self.alerts.advance(rounds, shares, self.generations.newest.model.manifest.alert)
        if counts:
            self._bounds.check(decoded.signals)
            self._count(advanced.crossings)
        alerts = self._alert_changes(rounds, advanced, detections, decoded)
        self._note_moved(by_car, moving, decoded)
        return detections, alerts

    def remember(self, keys: Joined, partitions: NDArray[np.int32], decoded: Decoded) -> None:
        """Take in m records that were scored before: they count as seen, and move older states on."""
        by_car, fresh, late = self.sift(keys, partitions, decoded.seq)
        newer = fresh & ~late & (decoded.seq > self.seq.values[by_car.cars])
        self.detect(by_car, newer, late, decoded, counts=False)

    def _score(
        self, cars: CarNumbers, signals: Floats, rows: Rows, *, moves: bool = True, counts: bool = False
    ) -> tuple[Floats, _Hits]:
        """(n scores as shares of the threshold, those of them that are over it)."""
        score, contribution, ages, parts = self.generations.step(cars, signals, moves)
        if counts:
            for part in parts:
                part.states.counts.judged += part.states.judged(part.after)
        thresholds = self.generations.thresholds(ages)
        # A NaN score is a hit too: such a record is far from everything that was learned.
        hits = np.flatnonzero(~(score <= thresholds))
        hit_ages = np.zeros(len(hits), np.int8) if ages is None else ages[hits]
        return score / thresholds, (rows[hits], score[hits], contribution[hits], hit_ages)

    def _detections(self, hits: list[_Hits], decoded: Decoded) -> Detections:
        if not hits:
            none = np.empty(0, np.intp)
            return Detections(none, none.astype(np.float32), np.empty((0, len(SIGNALS))), [])
        rows, scores, contributions, ages = map(np.concatenate, zip(*hits, strict=True))
        manifests = [self.generations.by_age(age).model.manifest for age in ages.tolist()]
        return Detections(rows, scores, shares_of(contributions, decoded.signals[rows]), manifests)

    def _count(self, crossings: Crossings) -> None:
        """Count crossings of levels for the models that score the cars."""
        if not self.generations.handing_over:
            self.generations.newest.counts.cross(crossings)
            return
        ages = self.generations.age.values[crossings.cars]
        for age in np.unique(ages).tolist():
            self.generations.by_age(age).counts.cross(crossings.only(ages == age))

    def take_evidence(self, scorer: str, since_ms: int, until_ms: int) -> list[Evidence]:
        """What was counted since the last call, of every model that did anything; the newest is the last."""
        newest, (checked, broken) = self.generations.newest, self._bounds.take()
        learning, _, strange = self.generations.counts()
        found = []
        for states in self.generations.versions.values():
            counts, states.counts = states.counts, Counts()
            standing: dict[str, Any] = {}
            if states is newest:
                standing = {
                    "checked": checked,
                    "broken": broken,
                    "cars": len(self.cars),
                    "learning": learning,
                    "strange": strange,
                    "open": len(self.alerts),
                }
            elif not (counts.judged or any(counts.crossings)):
                continue
            found.append(
                Evidence(
                    scorer=scorer,
                    model_name=states.model.manifest.name,
                    model_version=states.version,
                    share=None,
                    since=since_ms,
                    until=until_ms,
                    judged=counts.judged,
                    crossings=counts.crossings,
                    alone=counts.alone,
                    unwritten=counts.unwritten,
                    **standing,
                )
            )
        return found

    def _alert_changes(
        self, rounds: Rounds, advanced: Advanced, detections: Detections, decoded: Decoded
    ) -> list[dict[str, Any]]:
        """Open and close alerts, round by round."""
        levels, changes, _ = advanced
        alert_records = []
        for i, opens in changes:
            car, row = int(rounds.cars[i]), int(rounds.rows[i])
            states = self.generations.scored_by(car)
            at = int(decoded.sampled_at_ms[row])
            if opens:
                opening = detections.shares[detections.rows == row].sum(axis=0)
                alert = Alert(int(decoded.seq[row]), at, *self._hypothesis(states, car, opening))
                self.alerts.open(car, alert)
                signals = named(opening, decoded.signals[row])
            else:
                alert, signals = self.alerts.close(car), []
            self.changed.values[car] = True
            alert_records.append({
                "car_id": self.cars.ids[car].decode(errors="replace"),
                "alert_id": alert.id(self.cars.ids[car]),
                "action": "opened" if opens else "closed",
                "opened_at": alert.opened_at,
                "at": at,
                "level": float(levels[i] * states.model.threshold),
                "threshold": states.model.manifest.threshold,
                "component": alert.component,
                "confidence": alert.confidence,
                "signals": signals,
                "model_version": states.version,
            })  # fmt: skip
        return alert_records

    def _hypothesis(self, states: ModelStates, car: int, shares: Shares) -> tuple[str, float]:
        """(component, confidence) by the car's state; where that shows nothing, by the signals' shares."""
        hypotheses = states.model.manifest.hypotheses
        component, confidence = hypotheses.of(states.column.values[car]) if hypotheses else ("", 0.0)
        return (component, confidence) if component else self._components.hypothesis(shares)

    def _note_moved(self, by_car: ByCar, moving: Mask, decoded: Decoded) -> None:
        """Note the last sample in the cars' states; sorted, so of several of a car the last one is stored."""
        rows, cars = by_car.chosen(moving)
        self.seq.values[cars] = decoded.seq.take(rows)
        self.sampled_at.values[cars] = decoded.sampled_at_ms.take(rows)
        if self.generations.stateful:  # without states the levels come back with the remembered records
            self.changed.values[cars] = True


def _pieces(spans: list[slice]) -> Iterator[slice]:
    for span in spans:
        for start in range(span.start, span.stop, _CALL_ROWS_MAX):
            yield slice(start, min(start + _CALL_ROWS_MAX, span.stop))
