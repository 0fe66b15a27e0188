"""A challenger in the loop: what is written where while it is on trial."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from contract import records
from contract.telemetry import Decoder
from scorer import pipeline

from .scene import Scene
from .trial import model


@pytest.fixture
def make(remembering: Any) -> Any:
    return partial(model, remembering)


@pytest.fixture
def scene(consumer: Any, producer: Any, decoder: Decoder, make: Any) -> Scene:
    return Scene(consumer, producer, decoder, make(1))


@pytest.fixture
def drive(consumer: Any, telemetry_log: Any, telemetry_values: Any, remembering: Any) -> Callable[..., None]:
    """A function that lets the consumer deliver samples of one car, `off` by so many spreads."""

    def samples(first: int, count: int, off: float = 0.0) -> None:
        signals = np.tile(remembering.mean + off * remembering.spread, (count, 1)).astype(np.float32)
        for value in telemetry_values(["a"] * count, range(first, first + count), signals):
            consumer.inbox.append(telemetry_log.append(value, b"a", 0))

    return samples


def gauge(name: str) -> float:
    return REGISTRY.get_sample_value(f"scorer_challenger_{name}") or 0.0


def test_a_shadow_is_heard_on_scores_evidence_alone(
    scene: Scene, drive: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its alerts and counts go there; alerts and anomalies are the champion's; its states are written."""
    scene.challengers.append(make(2, share=0.0, threshold=1.0))
    monkeypatch.setattr(pipeline, "_LAG_INTERVAL_S", 0.1)
    scene.pipeline.settings = replace(scene.pipeline.settings, evidence_interval_s=0.1)
    shown: list[float] = []
    scene.run(
        lambda: drive(1, 8),
        lambda: drive(9, 12, off=0.5),  # 0.5 √K: over 1, under 4
        lambda: time.sleep(0.11),
        lambda: shown.extend(
            [gauge("version"), gauge("share"), gauge("learning_cars"), gauge("open_alerts")]
        ),
    )
    written = [
        (topic, options.get("key"), records.decode(value))
        for topic, value, options in scene.producer.produced
    ]
    assert not [topic for topic, _, _ in written if topic in ("alerts", "anomalies")]
    alerts = [
        fields for topic, _, (name, fields) in written if topic == "scores.evidence" and name == "alert"
    ]
    assert [(alert["action"], alert["model_version"], alert["car_id"]) for alert in alerts] == [
        ("opened", 2, "a")
    ]
    counts = [
        fields for topic, _, (name, fields) in written if topic == "scores.evidence" and name == "evidence"
    ]
    assert [(each["model_version"], each["share"], each["open"]) for each in counts[-2:]] == [
        (1, None, 0),
        (2, 0.0, 1),
    ]
    assert shown == [2, 0, 0, 1]
    assert b"a/challenger" in {key for topic, key, _ in written if topic == "car-state"}


def test_the_end_of_a_trial_is_followed(scene: Scene, drive: Any, make: Any) -> None:
    """A deletion withdraws the challenger, a champion of its version promotes it."""
    versions: list[Any] = []

    def note() -> None:
        trial = scene.detector.trial
        versions.append((scene.detector.generations.newest.version, trial and trial.states.version))

    scene.run(
        lambda: drive(1, 9),
        lambda: scene.challengers.append(make(2, share=0.0)),
        note,
        lambda: scene.challengers.append(None),
        note,
        lambda: scene.challengers.append(make(3, share=1.0)),
        lambda: drive(10, 6),
        lambda: scene.models.append(make(3)),
        lambda: scene.challengers.append(None),
        note,
    )
    assert versions == [(1, 2), (1, None), (3, None)]
    assert scene.detector.generations.counts() == (0, 0, 0)
