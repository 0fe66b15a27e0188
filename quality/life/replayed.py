"""A fleet's telemetry through the scorer's own models at work, one model after another."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.alert_rule import SMOOTHED, judge
from contract.golden import Golden
from contract.joined import Joined
from contract.manifest import Decision, Manifest, sha256
from contract.schema import latest
from contract.telemetry import SIGNALS, Floats
from quality.ground import Failure
from quality.metrics import FleetLevels
from scorer.cars import CarTable
from scorer.consensus import Consensus
from scorer.generations import Generations
from scorer.model import Model
from scorer.model_states import ModelStates
from simulator.fleet import Fleet
from trainer.model.directions import hypotheses
from trainer.model.domain import fleet_domain
from trainer.model.learning import learn
from trainer.model.replay import replay
from trainer.model.state import Window, state_layout

INTERVAL_S = 60.0
WINDOW = Window(learning_samples=480, memory_samples=60)  # 8 h and 1 h


def driven(fleet: Fleet, samples: int, since_s: float = 0.0) -> Floats:
    """What all cars of a fleet send from second `since_s` on: signals (cars, samples, K)."""
    steps = [since_s + (number + 1) * INTERVAL_S for number in range(samples)]
    return np.stack([fleet.step(slice(0, fleet.cars), now_s, INTERVAL_S) for now_s in steps], axis=1)


def trained(training: Floats, calibration: Floats, seed: int) -> Model:
    """A model of healthy cars (cars, samples, K), with 0.1 false alarms a car-week on others."""
    graph, _ = learn(fleet_domain(), *_rows(training), WINDOW, seed)
    tflite = graph.convert()
    score = replay(tflite, *_rows(calibration)).score.reshape(calibration.shape[:2])
    levels = FleetLevels.of(score, WINDOW.learning_samples, INTERVAL_S, SMOOTHED)
    manifest = Manifest(
        name="failure-detector", version=1, parent=None, created_at="", git_revision="", signals=SIGNALS,
        schema_fingerprint=latest("telemetry").fingerprint.hex(), threshold=levels.threshold(0.1),
        false_alarms_per_car_week=0.1, alert=SMOOTHED, components={},
        state=state_layout(fleet_domain(), WINDOW, INTERVAL_S, graph.constants.strange_variance),
        training_offsets={}, validation_offsets={}, seed=seed, metrics={}, reference_quantiles={},
        golden=Golden(signals=(), state=(), score=(), contribution=(), state_after=()),
        tflite_sha256=sha256(tflite), tflite_bytes=len(tflite), decision=Decision(published=True),
        hypotheses=hypotheses(graph, tflite, *_rows(training)),
    )  # fmt: skip
    return Model(manifest, tflite, "litert")


@dataclass(frozen=True)
class Replayed:
    """What the models at work said of a fleet."""

    shares: Floats  # (cars, samples) scores as shares of the threshold
    models: NDArray[np.int64]  # (cars, samples) number of the model that scored each car, from 0

    def false_alarms(self, from_sample: int) -> tuple[int, float]:
        """(openings, car-weeks) from this sample on, all of these cars being healthy."""
        levels = FleetLevels.of(self.shares, from_sample, INTERVAL_S, SMOOTHED)
        return len(levels.openings(1.0)[0]), levels.car_weeks

    def foreseen(self, failures: Sequence[Failure], from_sample: int) -> float:
        """The share of the failures with an opening between onset and failure."""
        levels = FleetLevels.of(self.shares, from_sample, INTERVAL_S, SMOOTHED)
        return float(np.isfinite(levels.leads_h(1.0, failures)).mean())

    def open_share(self, sample: int) -> float:
        """The share of the cars with an open alert after this sample."""
        level = FleetLevels.of(self.shares, 0, INTERVAL_S, SMOOTHED).level
        is_open = np.zeros(len(level), np.bool_)
        for moment in range(sample + 1):
            is_open, _, _ = judge(level[:, moment], is_open, threshold=1.0, rule=SMOOTHED)
        return float(is_open.mean())

    def part(self, cars: slice) -> "Replayed":
        """Some of the cars."""
        return Replayed(self.shares[cars], self.models[cars])


def replayed(
    signals: Floats,
    published: Mapping[int, Model],
    *,
    begin: NDArray[np.intp] | None = None,
    groups: bool = False,
    after: Callable[[int, ModelStates, int], None] = lambda _sample, _newest, _known: None,
) -> Replayed:
    """Score cars (cars, samples, K) with the models that are published before these samples.

    begin (cars,): the first sample of each car, not falling; all drive from the start by default. Before it a
    car scores 0 by model 0. `groups`: the models have been on trial, see `Consensus`. `after` is called after
    each sample, with the states of the newest model and the number of cars known by then.
    """
    cars, samples, _ = signals.shape
    begin = np.zeros(cars, np.intp) if begin is None else begin
    table = CarTable()
    generations = Generations(table)
    ids = [b"%06d" % car for car in range(cars)]
    shares, models = np.zeros((cars, samples), np.float32), np.zeros((cars, samples), np.int64)
    numbers = np.arange(0)
    for sample in range(samples):
        if model := published.get(sample):
            generations.add(with_manifest(model, version=list(published).index(sample)))
            generations.newest.consensus = Consensus(groups)
        if len(numbers) < (known := int(np.count_nonzero(begin <= sample))):
            numbers = table.numbers(Joined.of(ids[:known]), np.zeros(known, np.int32))
        step = generations.step(numbers, np.ascontiguousarray(signals[:known, sample]))
        shares[:known, sample] = step.score / generations.thresholds(step.ages)
        at_work = np.array([generations.by_age(age).version for age in range(len(generations))])
        models[:known, sample] = at_work[generations.age.values[numbers]]
        after(sample, generations.newest, known)
    return Replayed(shares, models)


def with_manifest(model: Model, **changes: Any) -> Model:
    """Another model with this graph, and other fields of the manifest."""
    other: Any = Model.__new__(Model)
    manifest = replace(model.manifest, **changes)
    other.__dict__ = model.__dict__ | {"manifest": manifest, "threshold": np.float32(manifest.threshold)}
    return other  # type: ignore[no-any-return]


def _rows(signals: Floats) -> tuple[Floats, NDArray[np.intp]]:
    cars, samples, count = signals.shape
    return signals.reshape(-1, count), np.repeat(np.arange(cars), samples)
