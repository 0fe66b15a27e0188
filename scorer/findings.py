"""What the models at work, or the challenger, say of the samples of a batch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.manifest import Manifest
from contract.telemetry import SIGNALS, Decoded, Floats
from scorer.alerts import Advanced, Alert, Alerts
from scorer.cars import Mask, Rounds, Rows
from scorer.generations import Ages
from scorer.model_states import ModelStates
from scorer.shares import Components, Shares, named, shares_of

# Of the scores over the threshold in one call of the graph: rows, scores, contributions, ages of the models,
# and whether the score is the car's.
_Hits = tuple[Rows, Floats, Floats, Ages, Mask]


@dataclass(frozen=True)
class Detections:
    """The h of m records with a score over the threshold."""

    rows: Rows  # (h,) rows of the records among the m
    scores: Floats  # (h,)
    shares: Shares  # (h, signals) share of each signal in the score
    manifests: list[Manifest]  # of the model that scored, for each of the h

    def only(self, chosen: Mask) -> "Detections":
        """Detections that the mask (h,) chooses."""
        if chosen.all():
            return self
        manifests = [each for each, keeps in zip(self.manifests, chosen.tolist(), strict=True) if keeps]
        return Detections(self.rows[chosen], self.scores[chosen], self.shares[chosen], manifests)

    def joined(self, other: "Detections") -> "Detections":
        """These, then the other ones."""
        if not len(other.rows):
            return self
        return Detections(
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.scores, other.scores]),
            np.concatenate([self.shares, other.shares]),
            [*self.manifests, *other.manifests],
        )


class Findings:
    """Scores of m samples as shares of the threshold, and those of all records over it."""

    def __init__(self, count: int) -> None:
        self.shares = np.zeros(count, np.float32)  # (m,)
        self._hits: list[_Hits] = []

    def add(
        self,
        rows: Rows,
        score: Floats,
        contribution: Floats,
        thresholds: NDArray[np.float32] | np.float32,
        *,
        ages: Ages | None = None,
        span: slice | Rows | None = None,
        visible: Mask | None = None,
    ) -> None:
        """Take in n scores; `span`: which of the m they are, `visible` (n,): whether they are the cars'."""
        # A NaN score is a hit too: such a record is far from everything that was learned.
        hits = np.flatnonzero(~(score <= thresholds))
        if len(hits):
            hit_ages = np.zeros(len(hits), np.int8) if ages is None else ages[hits]
            seen = np.ones(len(hits), np.bool_) if visible is None else visible[hits]
            self._hits.append((rows[hits], score[hits], contribution[hits], hit_ages, seen))
        if span is not None:
            self.shares[span] = score / thresholds

    def detections(self, decoded: Decoded, manifest: Callable[[int], Manifest]) -> tuple[Detections, Mask]:
        """(all h detections, (h,) whether each is the car's); `manifest` of the model of an age."""
        if not self._hits:
            none = np.empty(0, np.intp)
            no_shares = np.empty((0, len(SIGNALS)))
            return Detections(none, none.astype(np.float32), no_shares, []), np.empty(0, np.bool_)
        rows, scores, contributions, ages, visible = map(np.concatenate, zip(*self._hits, strict=True))
        manifests = [manifest(age) for age in ages.tolist()]
        shares = shares_of(contributions, decoded.signals[rows])
        return Detections(rows, scores, shares, manifests), visible


@dataclass(frozen=True)
class AlertWriter:
    """Opens and closes alerts of one table, and makes their records."""

    alerts: Alerts
    model: Callable[[int], ModelStates]  # the model that scores a car
    components: Components
    ids: list[bytes]  # of the cars

    def changed(
        self,
        rounds: Rounds,
        advanced: Advanced,
        detections: Detections,
        decoded: Decoded,
    ) -> list[tuple[int, dict[str, Any]]]:
        """(car, record of the schema alert without `scored_at`) of each change, see `Alerts.advance`."""
        found: list[tuple[int, dict[str, Any]]] = []
        for i, opens in advanced.changes:
            car, row = int(rounds.cars[i]), int(rounds.rows[i])
            states, at = self.model(car), int(decoded.sampled_at_ms[row])
            if opens:
                opening = detections.shares[detections.rows == row].sum(axis=0)
                alert = Alert(int(decoded.seq[row]), at, *self._hypothesis(states, car, opening))
                self.alerts.open(car, alert)
                signals = named(opening, decoded.signals[row])
            else:
                alert, signals = self.alerts.close(car), []
            action = "opened" if opens else "closed"
            level = float(advanced.levels[i])
            record = alert_record(self.ids[car], alert, states, action=action, at_ms=at, level=level)
            found.append((car, record | {"signals": signals}))
        return found

    def _hypothesis(self, states: ModelStates, car: int, shares: Shares) -> tuple[str, float]:
        """(component, confidence) by the car's state; where that shows nothing, by the signals' shares."""
        hypotheses = states.model.manifest.hypotheses
        component, confidence = hypotheses.of(states.column.values[car]) if hypotheses else ("", 0.0)
        return (component, confidence) if component else self.components.hypothesis(shares)


def alert_record(
    car: bytes, alert: Alert, states: ModelStates, *, action: str, at_ms: int, level: float
) -> dict[str, Any]:
    """Record of the schema alert without `scored_at`; `level` as a share of the threshold of this model."""
    return {
        "car_id": car.decode(errors="replace"),
        "alert_id": alert.id(car),
        "action": action,
        "opened_at": alert.opened_at,
        "at": at_ms,
        "level": float(level * states.model.threshold),
        "threshold": states.model.manifest.threshold,
        "component": alert.component,
        "confidence": alert.confidence,
        "signals": [],
        "model_version": states.version,
    }
