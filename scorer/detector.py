"""All that is known of this replica's cars, and what one more batch of their samples comes to."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.joined import Joined
from contract.manifest import Manifest
from contract.telemetry import SIGNALS, Decoded, Floats
from contract.varints import Longs
from scorer.alerts import Alert, Alerts
from scorer.cars import ByCar, Cars, Mask, Rounds
from scorer.generations import Behind, Generations
from scorer.index import Places
from scorer.memory import Memory
from scorer.model import Model
from scorer.shares import Components, Shares, shares_of
from scorer.states import States

Rows = NDArray[np.intp]
# Of one call of the graph: rows, scores and contributions over the threshold, and which model said so.
_Hits = tuple[Rows, Floats, Floats, Behind]

# Of a car before its first sample.
_NO_SEQ = -1
# More rows in one call of the graph leave the processor's cache between its operators.
_CALL_ROWS_MAX = 2_000


@dataclass(frozen=True)
class Detections:
    """The h of m records with a score over the threshold; `shares` (h, 18) are the signals' in the score."""

    rows: Rows
    scores: Floats
    shares: Shares
    manifests: list[Manifest]


@dataclass(frozen=True)
class Turn:
    """An alert that opens or closes with the record in `row`; `shares` (18,) of the signals, if it opens."""

    row: int
    alert: Alert
    level: float
    manifest: Manifest
    shares: Shares | None


class Detector:
    """Cars, what was seen of them, what the models remember of them, and their alerts."""

    def __init__(self) -> None:
        self.cars = Cars()
        self.memory = Memory(self.cars)
        self.alerts = Alerts(self.cars)
        self.generations = Generations(self.cars)
        # Of the last sample in a car's state; and whether that has changed since it was written.
        self.seq = self.cars.column(_NO_SEQ, np.int64)
        self.sampled_at = self.cars.column(0, np.int64)
        self.changed = self.cars.column(False, np.bool_)
        self._components = Components({})

    def add(self, model: Model) -> None:
        """A newer model, from the next batch on."""
        self.generations.add(model)
        self._components = Components(model.manifest.components)

    def sift(self, keys: Joined, partitions: NDArray[np.int32], seq: Longs) -> tuple[ByCar, Mask, Mask]:
        """m records by car; which of them were not seen before; which of those come late, (m,)."""
        by_car = ByCar.of(self.cars.places(keys, partitions))
        return by_car, *self.memory.sift(by_car, seq)

    def detect(self, by_car: ByCar, fresh: Mask, late: Mask, of: Decoded) -> tuple[Detections, list[Turn]]:
        """What the fresh ones of m records come to, each car's in their order.

        A late one is scored and leaves the car's state and alert as they are: what it would add is long
        past. So does one that is older than a state that was read back.
        """
        moving = fresh & ~late & (of.seq > self.seq.values[by_car.cars])
        rounds = by_car.rounds(moving)
        # `take` copies rows in a fifth of the time of an index.
        rows, cars, signals = rounds.rows, rounds.cars, of.signals.take(rounds.rows, axis=0)
        shares = np.empty(len(rows), np.float32)
        hits = []
        # Without a state no score depends on the sample before.
        whole = [slice(0, len(rows))]
        for span in _pieces(rounds.spans if self.generations.stateful else whole):
            shares[span], hit = self._score(cars[span], signals[span], rows[span])
            hits.append(hit)
        still = np.flatnonzero(fresh & ~moving)
        if len(still):
            hits.append(self._score(by_car.cars[still], of.signals[still], still, moves=False)[1])
        found = self._detections(hits, of)
        turns = self._turns(rounds, shares, found, of)
        self._moved(by_car, moving, of)
        return found, turns

    def remember(self, keys: Joined, partitions: NDArray[np.int32], of: Decoded) -> None:
        """m records that were scored before: they count as seen, and what no state holds yet moves it on."""
        by_car, fresh, late = self.sift(keys, partitions, of.seq)
        known = fresh & ~late & (of.seq > self.seq.values[by_car.cars])
        self.detect(by_car, known, late, of)

    def forget(self, partitions: Collection[int]) -> None:
        """Drop the cars of partitions that another replica scores from now on."""
        kept = self.cars.forget(partitions)
        self.memory.keep(kept)
        self.alerts.keep()

    def _score(self, cars: Places, signals: Floats, rows: Rows, moves: bool = True) -> tuple[Floats, _Hits]:
        """n scores as shares of the threshold, and those that are over it."""
        score, contribution, behind = self.generations.step(cars, signals, moves)
        thresholds = self.generations.thresholds(behind)
        # Also a score that is no number: such a record is far from anything that was learnt.
        hits = np.flatnonzero(~(score <= thresholds))
        backs = np.zeros(len(hits), np.int8) if behind is None else behind[hits]
        return score / thresholds, (rows[hits], score[hits], contribution[hits], backs)

    def _detections(self, hits: list[_Hits], of: Decoded) -> Detections:
        if not hits:
            none = np.empty(0, np.intp)
            return Detections(none, none.astype(np.float32), np.empty((0, len(SIGNALS))), [])
        rows, scores, contributions, backs = map(np.concatenate, zip(*hits, strict=True))
        manifests = [self.generations.manifest(back) for back in backs.tolist()]
        return Detections(rows, scores, shares_of(contributions, of.signals[rows]), manifests)

    def _turns(self, rounds: Rounds, shares: Floats, found: Detections, of: Decoded) -> list[Turn]:
        """The alerts that open or close with one of m scores, round by round."""
        rule = self.generations.newest.model.manifest.alert
        levels, turned = self.alerts.advance(rounds, shares, rule)
        turns: list[Turn] = []
        for place, opens in turned:
            car, row = int(rounds.cars[place]), int(rounds.rows[place])
            said = found.shares[found.rows == row].sum(axis=0) if opens else None
            turns.append(self._turn(car, row, levels[place], said, of))
        return turns

    def _turn(self, car: int, row: int, level: np.float32, shares: Shares | None, of: Decoded) -> Turn:
        """`level`: as a share of the threshold. `shares`: an alert opens; None: it closes."""
        states = self.generations.scored_by(car)
        if shares is None:
            alert = self.alerts.close(car)
        else:
            hypothesis = self._hypothesis(states, car, shares)
            alert = Alert(int(of.seq[row]), int(of.sampled_at_ms[row]), *hypothesis)
            self.alerts.open(car, alert)
        self.changed.values[car] = True
        return Turn(row, alert, float(level * states.model.threshold), states.model.manifest, shares)

    def _hypothesis(self, states: States, car: int, shares: Shares) -> tuple[str, float]:
        """By what the model remembers of the car; else, also of a single strange sample, by the shares."""
        known = states.model.manifest.hypotheses
        found = known.of(states.column.values[car]) if known else ("", 0.0)
        return found if found[0] else self._components.hypothesis(shares)

    def _moved(self, by_car: ByCar, moving: Mask, of: Decoded) -> None:
        """The cars' states hold these records now: sorted, so of several of a car the last one stays."""
        rows, cars = by_car.chosen(moving)
        self.seq.values[cars] = of.seq.take(rows)
        self.sampled_at.values[cars] = of.sampled_at_ms.take(rows)
        if self.generations.stateful:  # else the records that are remembered bring the levels back
            self.changed.values[cars] = True


def _pieces(spans: list[slice]) -> Iterator[slice]:
    for span in spans:
        for start in range(span.start, span.stop, _CALL_ROWS_MAX):
            yield slice(start, min(start + _CALL_ROWS_MAX, span.stop))
