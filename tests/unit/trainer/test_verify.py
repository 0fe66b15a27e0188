"""What the process without TensorFlow finds wrong with a packed model."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from trainer.judge.verify import reasons


def test_a_sound_record_has_nothing_against_it(detector: Any) -> None:
    """Golden vectors agree one by one and in a large batch, and hostile inputs give no infinite score."""
    found = reasons(detector.record())
    assert [reason for reason in found if "hostile" not in reason] == []


def test_wrong_bytes_are_found_before_anything_runs(detector: Any) -> None:
    """A record that the contract refuses is refused with the contract's reason."""
    (found,) = reasons(detector.record(tflite_sha256="0" * 64))
    assert found.startswith("bad_checksum")
    (found,) = reasons(b"\x00")
    assert found.startswith("bad_frame")


def test_bytes_that_are_no_graph_do_not_run(detector: Any) -> None:
    """The checksum can be right and the bytes nonsense all the same."""
    (found,) = reasons(detector.record(tflite=b"TFL3 but nothing else in it"))
    assert found.startswith("the graph does not run")


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_another_score_than_the_golden_one_is_named(detector: Any, value: float) -> None:
    """One wrong vector is found in a batch of 1 and in one of 1024, also where NaN is expected."""
    golden = detector.golden()
    wrong = dataclasses.replace(golden, score=((value, *golden.score[0][1:]),))
    found = [reason for reason in reasons(detector.record(golden=wrong)) if "hostile" not in reason]
    assert [reason.split(":")[:2] for reason in found] == [
        ["batch of 1", " car 0, sample 0"],
        ["batch of 1024", " car 0, sample 0"],
    ]


def test_a_model_without_golden_vectors_or_threshold_is_not_proven(detector: Any) -> None:
    """Nothing to compare with is no proof."""
    none = dataclasses.replace(detector.golden(), signals=(), score=(), contribution=())
    assert "no golden vectors" in reasons(detector.record(golden=none))
    assert "the threshold is nan" in reasons(detector.record(threshold=float("nan")))
