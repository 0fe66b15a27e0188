"""What the process without TensorFlow finds wrong with a packed model."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from contract.telemetry import SIGNALS
from tests.conftest import MEAN, SPREAD, Remembering
from trainer.judge.verify import reasons


def test_a_sound_record_has_nothing_against_it(detector: Any) -> None:
    """Golden vectors agree one by one and in a large batch, and hostile inputs give no infinite score."""
    problems = reasons(detector.record())
    assert [reason for reason in problems if "hostile" not in reason] == []


def test_wrong_bytes_are_found_before_anything_runs(detector: Any) -> None:
    """A malformed record is refused with the contract's reason."""
    (problem,) = reasons(detector.record(tflite_sha256="0" * 64))
    assert problem.startswith("bad_checksum")
    (problem,) = reasons(b"\x00")
    assert problem.startswith("bad_frame")


def test_bytes_that_are_no_graph_do_not_run(detector: Any) -> None:
    """The checksum can be right although the bytes are no graph."""
    (problem,) = reasons(detector.record(tflite=b"TFL3 but nothing else in it"))
    assert problem.startswith("the graph does not run")


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_another_score_than_the_golden_one_is_named(detector: Any, value: float) -> None:
    """One wrong vector is reported for a batch of 1 and of 1024, also if NaN is expected."""
    golden = detector.golden()
    wrong = dataclasses.replace(golden, score=((value, *golden.score[0][1:]),))
    problems = [reason for reason in reasons(detector.record(golden=wrong)) if "hostile" not in reason]
    assert [reason.split(":")[:2] for reason in problems] == [
        ["batch of 1", " car 0, sample 0"],
        ["batch of 1024", " car 0, sample 0"],
    ]


def test_a_model_without_golden_vectors_or_threshold_is_not_proven(detector: Any) -> None:
    """Without golden vectors nothing is proven."""
    none = dataclasses.replace(detector.golden(), signals=(), score=(), contribution=())
    assert "no golden vectors" in reasons(detector.record(golden=none))
    assert "the threshold is nan" in reasons(detector.record(threshold=float("nan")))


def test_a_model_that_judges_some_of_the_signals_is_verified_in_its_own_width() -> None:
    """Golden vectors and hostile inputs have as many columns as the model judges signals."""
    some = Remembering.of(MEAN[:5], SPREAD[:5])
    problems = reasons(some.record(signals=SIGNALS[:5]))
    assert [reason for reason in problems if "hostile" not in reason] == []
