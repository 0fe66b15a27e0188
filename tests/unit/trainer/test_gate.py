"""The gate: each thing that must keep a model from the scorers does, by itself, and says so."""

import dataclasses
import math
from typing import Any

import pytest

from contract.manifest import TFLITE_BYTES_MAX
from trainer.judge.evaluate import Difference
from trainer.judge.gate import Evidence, reasons

GOOD = Evidence(
    tflite_bytes=40_000,
    finite=True,
    parity=1e-6,
    unsound=(),
    threshold=1.7,
    false_alarms=0.12,
    false_alarms_low=0.05,
    budget=0.1,
    car_weeks=40.0,
    suspect_share=0.02,
    recall=0.7,
    over_max_abs_z=Difference(0.1, 0.08, 0.12),
    over_mahalanobis=Difference(0.05, 0.03, 0.07),
    over_linear=Difference(0.02, -0.01, 0.04),
    over_champion=Difference(0.0, -0.01, 0.01),
)
NAN = Difference(math.nan, math.nan, math.nan)


def test_a_good_candidate_passes() -> None:
    """No reason against it; also where there is no champion yet."""
    assert reasons(GOOD) == []
    assert reasons(dataclasses.replace(GOOD, over_champion=None, over_linear=None)) == []


def test_who_foresees_everything_need_not_be_better() -> None:
    """Where a baseline finds all failures too, no candidate could pass."""
    as_good = Difference(0.0, 0.0, 0.0)
    assert reasons(dataclasses.replace(GOOD, recall=1.0, over_mahalanobis=as_good)) == []
    assert reasons(dataclasses.replace(GOOD, recall=0.7, over_mahalanobis=as_good)) != []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tflite_bytes": TFLITE_BYTES_MAX + 1}, "at most 524288"),
        ({"tflite_bytes": 0}, "0 bytes"),
        ({"finite": False}, "not finite"),
        ({"threshold": math.nan}, "not finite"),
        ({"parity": 2e-4}, "differs from Keras by 0.0002"),
        ({"parity": math.nan}, "differs from Keras by nan"),
        ({"unsound": ("golden vector 3: score 1.0, expected 2.0",)}, "unsound: golden vector 3"),
        ({"false_alarms": 1.0, "false_alarms_low": 0.5}, "1 false alarms a car-week (hardly less than 0.5)"),
        ({"false_alarms_low": math.nan}, "false alarms"),
        ({"suspect_share": 0.2}, "20% of the healthy cars are suspect"),
        ({"over_max_abs_z": Difference(0.01, -0.01, 0.03)}, "not better than max|z|: recall +0.010"),
        ({"over_max_abs_z": NAN}, "not better than max|z|"),
        ({"over_mahalanobis": Difference(-0.05, -0.08, -0.02)}, "not better than Mahalanobis"),
        ({"over_linear": Difference(-0.05, -0.08, -0.02)}, "better without its network: recall -0.050"),
        ({"over_champion": Difference(-0.05, -0.08, -0.02)}, "worse than the champion: recall -0.050"),
        ({"over_champion": NAN}, "worse than the champion"),
    ],
)
def test_one_failing_measurement_refuses(changes: dict[str, Any], reason: str) -> None:
    """Exactly one reason, with the numbers in it."""
    (found,) = reasons(dataclasses.replace(GOOD, **changes))
    assert reason in found


def test_noise_does_not_refuse() -> None:
    """A loss within noise is no reason, nor a sure one below a hundredth, nor unlucky alarms."""
    noisy = dataclasses.replace(
        GOOD,
        over_linear=Difference(-0.05, -0.12, 0.01),
        over_champion=Difference(-0.006, -0.008, -0.004),
        false_alarms=0.4,
        false_alarms_low=0.15,
    )
    assert reasons(noisy) == []


def test_an_extrapolated_threshold_may_be_further_off() -> None:
    """Where not one alert is allowed in what the test cars drove, nobody can count: up to ten times."""
    few = dataclasses.replace(GOOD, car_weeks=0.1, false_alarms=1.5, false_alarms_low=0.9)
    assert reasons(few) == []
    assert len(reasons(dataclasses.replace(few, false_alarms_low=1.1))) == 1


def test_all_reasons_are_given() -> None:
    """Who reads the refusal sees everything that is wrong at once."""
    bad = dataclasses.replace(GOOD, finite=False, parity=1.0, unsound=("a", "b"), suspect_share=1.0)
    assert len(reasons(bad)) == 5
