"""A challenger on trial beside the champion, in running scorers."""

from typing import Any

import numpy as np
import pytest

from contract import records
from contract.alert_rule import AlertRule
from contract.evidence import AT_THRESHOLD
from contract.manifest import Decision
from contract.topics import ALERTS, ANOMALIES, EVIDENCE, challenger_key

from .edge import MODELS, until

pytestmark = pytest.mark.integration

CARS = [f"car-{number}" for number in range(40)]


class Road:
    """The cars' samples, one after the other; all of them off by so many spreads."""

    def __init__(self, edge: Any, remembering: Any) -> None:
        self._edge, self._remembering = edge, remembering
        self.seq = 0

    def drive(self, count: int, off: float = 0.0) -> None:
        """Send this many samples of each car."""
        signals = np.tile(self._remembering.mean + off * self._remembering.spread, (len(CARS), 1))
        for _ in range(count):
            self.seq += 1
            self._edge.send(CARS, [self.seq] * len(CARS), signals.astype(np.float32))
        until(self._edge.scored_once, "every record scored")


@pytest.fixture
def road(edge: Any, remembering: Any) -> Road:
    return Road(edge, remembering)


def record(edge: Any, remembering: Any, version: int, share: float | None = None, **other: Any) -> bytes:
    fields = {"threshold": 4.0, "alert": AlertRule(smoothing=0.5), "name": edge.name} | other
    made: bytes = remembering.record(version, decision=Decision(published=True, share=share), **fields)
    return made


def evidence(edge: Any, name: str) -> list[dict[str, Any]]:
    """The records of one schema on scores.evidence."""
    decoded = [records.decode(message.value()) for message in edge.read(EVIDENCE)]
    return [fields for schema, fields in decoded if schema == name]


def test_a_challenger_is_watched_and_then_scores(
    edge: Any, replica: Any, remembering: Any, road: Road
) -> None:
    """On trial it is heard on scores.evidence alone, also by a successor; promoted it scores at once."""
    key = challenger_key(edge.name).encode()
    edge.publish(record(edge, remembering, 1))
    scorer = replica("--evidence-interval-s", "0.5", "--state-interval-s", "0.1")
    scorer.wait_ready()
    road.drive(8)
    edge.write(MODELS, record(edge, remembering, 2, share=0.0, threshold=1.0), key)
    scorer.wait_shows("scorer_challenger_version", 2)
    road.drive(6)
    scorer.wait_shows("scorer_challenger_learning_cars", 0)
    assert scorer.stop()[0] == 0
    scorer.start()
    scorer.wait_ready()
    scorer.wait_shows("scorer_challenger_learning_cars", 0)  # what it had learned is there
    road.drive(12, off=0.5)  # 0.5 √K: over 1, under 4
    scorer.wait_shows("scorer_challenger_open_alerts", len(CARS))
    assert edge.decoded(ALERTS) == edge.decoded(ANOMALIES) == []
    until(lambda: len(evidence(edge, "alert")) == len(CARS), "the challenger's alerts are evidence")
    assert {(a["action"], a["model_version"]) for a in evidence(edge, "alert")} == {("opened", 2)}

    def standing() -> dict[int, dict[str, Any]]:
        return {each["model_version"]: each for each in evidence(edge, "evidence")}

    until(lambda: standing()[2]["open"] == len(CARS), "the challenger's counts are evidence")
    assert standing()[1]["open"] == 0
    assert sum(
        each["crossings"][AT_THRESHOLD] for each in evidence(edge, "evidence") if each["model_version"] == 2
    ) == len(CARS)

    edge.publish(record(edge, remembering, 2, threshold=1.0))
    edge.write(MODELS, None, key)
    scorer.wait_shows("scorer_model_version", 2)
    scorer.wait_shows("scorer_challenger_version", 0)
    assert scorer.metric("scorer_behind_cars") == scorer.metric("scorer_learning_cars") == 0
    road.drive(1, off=0.5)
    assert {anomaly["model_version"] for anomaly in edge.decoded(ANOMALIES)} == {2}
    until(lambda: len(edge.decoded(ALERTS)) == len(CARS), "an alert of each car is shown")
    assert scorer.metric("scorer_model_swap_seconds_bucket", le="0.05") == scorer.metric(
        "scorer_model_swap_seconds_count"
    )
    assert scorer.metric("scorer_challengers_dropped_total") == 0
