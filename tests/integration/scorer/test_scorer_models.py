"""Models change while scoring goes on; only a sound one is taken into use."""

import json
from typing import Any

import numpy as np
import pytest

from contract.manifest import TFLITE_BYTES_MAX
from contract.telemetry import SIGNALS
from contract.topics import AUDIT

from .edge import until

K = len(SIGNALS)

NAN = np.float32(np.nan).tobytes()

pytestmark = pytest.mark.integration


def test_a_swap_under_load_leaves_nothing_unscored(
    edge: Any, replica: Any, model_record: Any, load: Any
) -> None:
    """Every offset is scored exactly once, by the old or the new model, and no swap takes 0.1 s."""
    edge.publish(model_record(version=1))
    scorer = replica()
    scorer.wait_ready()
    with load(cars=200, per_second=2_000):
        for version in (2, 3, 4):
            scorer.wait_scored(1_000)
            edge.publish(model_record(version=version))
            scorer.wait_shows("scorer_model_version", version)
        scorer.wait_scored(1_000)
    until(edge.scored_once, "every record scored")
    in_order = sorted((audit["scored_at"], audit["model_version"]) for audit in edge.decoded(AUDIT))
    versions = [version for _, version in in_order]
    assert set(versions) == {1, 2, 3, 4}
    assert versions == sorted(versions)
    assert scorer.metric("scorer_model_swap_seconds_count") == 4
    assert scorer.metric("scorer_model_swap_seconds_bucket", le="0.1") == 4


def test_a_model_published_again_is_a_rollback(edge: Any, replica: Any, model_record: Any) -> None:
    """An earlier version that is published again is taken into use, also by a replica that starts later."""
    for version in (1, 2):
        edge.publish(model_record(version=version))
    scorer = replica()
    scorer.wait_shows("scorer_model_version", 2)
    edge.publish(model_record(version=1))
    scorer.wait_shows("scorer_model_version", 1)
    later = replica()
    later.wait_shows("scorer_model_version", 1)
    edge.send(["a"], [1])
    until(edge.scored_once, "the record is scored")
    assert {audit["model_version"] for audit in edge.decoded(AUDIT)} == {1}


def test_bad_models_are_refused_and_scoring_goes_on(
    edge: Any, replica: Any, model_record: Any, detector: Any, load: Any
) -> None:
    """Each kind is counted and logged by its reason; the model in use scores on until a sound one comes."""
    weights = detector.tflite.index(detector.mean.tobytes())
    broken = detector.tflite[:weights] + NAN * K + detector.tflite[weights + detector.mean.nbytes :]
    flipped = model_record(version=2).replace(detector.mean.tobytes(), bytes(detector.mean.nbytes))
    bad = {
        "bad_frame": b"junk",
        "bad_checksum": flipped,
        "golden_vectors": model_record(version=2, tflite=broken),
        "other_signals": model_record(version=2, signals=(*SIGNALS[:-1], "no_such_signal")),
        "unknown_manifest_version": model_record(version=2, manifest_version=99),
        "too_large": model_record(version=2, tflite=detector.tflite + bytes(TFLITE_BYTES_MAX)),
        "unusable_graph": model_record(version=2, tflite=b"garbage"),
        "malformed_manifest": model_record(version=2, seed="one"),
    }
    edge.publish(model_record(version=1))
    scorer = replica()
    scorer.wait_ready()
    with load(cars=50, per_second=500):
        for reason, record in bad.items():
            edge.publish(record)
            scorer.wait_shows("scorer_model_refusals_total", 1, reason=reason)
            scorer.wait_scored(100)
            assert scorer.metric("scorer_model_version") == 1
        assert scorer.probe("/readyz")[0] == 200
        edge.publish(model_record(version=3))
        scorer.wait_shows("scorer_model_version", 3)
        scorer.wait_scored(100)  # by it: what was read before it came is scored by then
    until(edge.scored_once, "every record scored")
    assert {audit["model_version"] for audit in edge.decoded(AUDIT)} == {1, 3}
    logged = [json.loads(line)["message"] for line in scorer.log.splitlines() if '"error"' in line]
    assert [message.split(": ")[1] for message in logged] == list(bad)
    assert scorer.metric("scorer_model_swap_seconds_bucket", le="0.1") == 2 + len(bad)


def test_a_restart_after_a_bad_model_uses_the_last_sound_one(
    edge: Any, replica: Any, model_record: Any
) -> None:
    """The newest record is refused: the one before it serves."""
    edge.publish(model_record(version=1))
    edge.publish(model_record(version=2, manifest_version=99))
    scorer = replica()
    scorer.wait_ready()
    assert scorer.metric("scorer_model_version") == 1
    assert scorer.metric("scorer_model_refusals_total", reason="unknown_manifest_version") == 1
