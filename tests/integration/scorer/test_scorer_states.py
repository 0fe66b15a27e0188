"""What is known of a car survives whatever happens to the replicas, and a new model blinds no car."""

import contextlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.alert_rule import AlertRule
from contract.telemetry import SIGNALS
from contract.topics import ALERTS, ANOMALIES, CAR_STATE, TELEMETRY

from .edge import until

pytestmark = pytest.mark.integration

CARS, PER_SECOND = 60, 1_500


class Drive:
    """Telemetry of a few cars from a thread, random but known; in the end what each sample must score."""

    def __init__(self, edge: Any, remembering: Any) -> None:
        self._edge, self._remembering = edge, remembering
        self._end = threading.Event()
        self._noise = np.random.default_rng(1)
        self.samples: list[NDArray[np.float32]] = []  # (CARS, K) each

    @contextlib.contextmanager
    def going(self) -> Iterator["Drive"]:
        """Sends until it is left."""
        self._end.clear()
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self._end.set()
            thread.join()
            self._edge.flush()

    def _run(self) -> None:
        while not self._end.wait(CARS / PER_SECOND):
            noise = self._noise.normal(size=(CARS, len(SIGNALS)))
            signals = self._remembering.mean + self._remembering.spread * noise
            self.samples.append(signals.astype(np.float32))
            cars = [f"car-{number}" for number in range(CARS)]
            self._edge.send(cars, [len(self.samples)] * CARS, self.samples[-1], flush=False)

    def scores(self) -> dict[tuple[str, int], float]:
        """(car, seq) to the score, one sample after the other; 0 while a car is learned."""
        state, found = np.zeros((CARS, self._remembering.layout.width), np.float32), {}
        for seq, signals in enumerate(self.samples, 1):
            score, _, state = self._remembering.step(signals, state)
            found |= {(f"car-{number}", seq): value for number, value in enumerate(score.tolist())}
        return found


@pytest.fixture
def drive(edge: Any, remembering: Any) -> Drive:
    return Drive(edge, remembering)


@pytest.fixture
def publish(edge: Any, remembering: Any) -> Callable[..., None]:
    """A model with memory, by its version; every score over 0 is an anomaly by default."""

    def send(version: int, by: float = 0.0, **other: Any) -> None:
        fields = {"threshold": 1e-30, "name": edge.name} | other
        edge.publish(remembering.shifted(by).record(version, **fields))

    return send


def check(edge: Any, drive: Drive) -> None:
    """Every record scored once, and each as if one process had scored all of them in order."""
    until(edge.scored_once, "every record scored")
    found = defaultdict(list)
    for anomaly in edge.decoded(ANOMALIES):
        found[anomaly["car_id"], anomaly["seq"]].append(anomaly["score"])
    expected = {record: score for record, score in drive.scores().items() if score > 0}
    assert found.keys() == expected.keys()
    for record, score in expected.items():
        assert found[record] == pytest.approx([score] * len(found[record]), rel=1e-4), record


@pytest.mark.parametrize(
    "flags",
    [
        # States are written often, and little is read back besides.
        ("--state-interval-s", "0.4", "--remembered-records", "1000"),
        # They are never written: all has to come from the records that are read back.
        ("--state-interval-s", "3600", "--remembered-records", "20000"),
    ],
    ids=["states", "records"],
)
def test_killed_under_load_every_score_is_as_without_it(
    edge: Any, replica: Any, publish: Any, drive: Drive, flags: tuple[str, ...]
) -> None:
    """SIGKILL, twice: the states after the restart are those from before it, whatever was written when."""
    publish(1)
    scorer = replica(*flags)
    scorer.wait_ready()
    with drive.going():
        for _ in range(2):
            scorer.wait_scored(3_000)
            scorer.kill()
            scorer.start()
            scorer.wait_ready()
        scorer.wait_scored(1_500)
    check(edge, drive)
    assert scorer.metric("scorer_states_refused_total", reason="not_finite") == 0


def test_states_go_from_replica_to_replica(edge: Any, replica: Any, publish: Any, drive: Drive) -> None:
    """1 → 3 → 1 under load: a partition's cars go on in another replica as if it had always been theirs."""
    publish(1)
    flags = ("--state-interval-s", "3600", "--remembered-records", "0")  # nothing but what is given up
    scorers = [replica(*flags)]
    scorers[0].wait_ready()
    with drive.going():
        scorers[0].wait_scored(1_500)
        scorers += [replica(*flags), replica(*flags)]
        for scorer in scorers:
            scorer.wait_shows("scorer_assigned_partitions", 4)
        scorers[1].wait_scored(500)
        for scorer in scorers[:2]:
            assert scorer.stop()[0] == 0
        scorers[2].wait_shows("scorer_assigned_partitions", 12)
        scorers[2].wait_scored(1_500)
    check(edge, drive)
    assert scorers[2].metric("scorer_states_restored_total") > 0


def test_a_new_model_blinds_no_car(edge: Any, replica: Any, publish: Any, drive: Drive) -> None:
    """Under load a car with a growing deviation keeps its alert over a swap, a restart and a roll back."""
    rule = {"threshold": 20.0, "alert": AlertRule(smoothing=0.5, close_ratio=0.9)}
    publish(1, **rule)
    scorer = replica("--state-interval-s", "0.4")
    scorer.wait_ready()
    with drive.going(), Drifting(edge, drive._remembering) as drifting:
        until(lambda: opened(edge) == {"drifting"}, "the drifting car has an alert")
        publish(2, by=1.0, **rule)
        scorer.wait_shows("scorer_model_version", 2)
        scorer.kill()  # in the middle of the hand-over
        scorer.start()
        until(lambda: versions(edge)[-1] == 2, "the new model has learned the drifting car")
        publish(1, **rule)
        until(lambda: versions(edge)[-1] == 1, "the former model is back")
        scorer.wait_shows("scorer_behind_cars", 0)
    until(edge.scored_once, "every record scored")
    actions = [(alert["car_id"], alert["action"]) for alert in edge.decoded(ALERTS)]
    assert set(actions) == {("drifting", "opened")}
    assert len({alert["alert_id"] for alert in edge.decoded(ALERTS)}) == 1
    seqs = sorted({a["seq"] for a in edge.decoded(ANOMALIES) if a["car_id"] == "drifting"})
    assert seqs == list(range(seqs[0], drifting.seq + 1))


class Drifting:
    """One car more, of which one signal goes off by a little more with each sample."""

    def __init__(self, edge: Any, remembering: Any) -> None:
        self._edge, self._remembering = edge, remembering
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.seq = 0

    def __enter__(self) -> "Drifting":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(0.1):
            signals = self._remembering.mean.copy()
            signals[0] += self._remembering.spread[0] * max(0, self.seq - 8)
            self.seq += 1
            self._edge.send(["drifting"], [self.seq], signals[None])


def versions(edge: Any) -> list[int]:
    """The models that scored the drifting car, sample by sample, once it was far enough off."""
    found = [(a["seq"], a["model_version"]) for a in edge.decoded(ANOMALIES) if a["car_id"] == "drifting"]
    return [version for _, version in sorted(found)]


def opened(edge: Any) -> set[str]:
    """The cars for which an alert was opened."""
    return {alert["car_id"] for alert in edge.decoded(ALERTS) if alert["action"] == "opened"}


def test_states_are_written_within_the_interval_and_at_the_end(
    edge: Any, replica: Any, publish: Any, remembering: Any
) -> None:
    """In the partition of the car's telemetry, with the seq of the last sample; also where all is quiet."""
    publish(1)
    scorer = replica("--state-interval-s", "1")
    scorer.wait_ready()
    cars = [f"car-{number}" for number in range(30)]
    edge.send(cars * 3, np.repeat([1, 2, 3], 30))
    until(lambda: states(edge) == dict.fromkeys(cars, 3), "all states written")
    scorer.stop()
    lasting = replica("--state-interval-s", "3600")
    lasting.wait_shows("scorer_known_cars", 30)
    edge.send(cars, [4] * 30)
    until(edge.scored_once, "every record scored")
    assert lasting.stop()[0] == 0
    assert states(edge) == dict.fromkeys(cars, 4)
    places = {m.key(): m.partition() for m in edge.read(TELEMETRY)}
    assert {m.key(): m.partition() for m in edge.read(CAR_STATE) if m.key() in places} == places


def states(edge: Any) -> dict[str, int]:
    """Car to the seq in its last state."""
    mine = [state for state in edge.decoded(CAR_STATE) if state["model_name"] == edge.name]
    return {state["car_id"]: state["seq"] for state in mine}


def test_a_broken_state_is_learned_anew(edge: Any, replica: Any, publish: Any, remembering: Any) -> None:
    """An infinite signal costs the car its state; it is counted, learned again, and scored again."""
    publish(1)
    scorer = replica()
    scorer.wait_ready()
    signals = np.tile(remembering.mean, (30, 1))
    signals[9, 0] = np.inf
    signals[20:, 0] += remembering.spread[0]
    edge.send(["a"] * 30, range(1, 31), signals)
    scorer.wait_shows("scorer_states_refused_total", 1, reason="not_finite")
    until(edge.scored_once, "every record scored")
    assert {anomaly["seq"] for anomaly in edge.decoded(ANOMALIES)} == {10, *range(21, 31)}
    until(lambda: scorer.metric("scorer_learning_cars") == 0, "learned")
