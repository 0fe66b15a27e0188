"""The gate: each failed check refuses the model by itself and gives a reason."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from contract.manifest import TFLITE_BYTES_MAX
from trainer.judge.evaluate import Difference, Judgement
from trainer.judge.exam import Examined
from trainer.judge.gate import Evidence, reasons

GOOD = Evidence(
    candidate=Judgement(
        threshold=1.7,
        false_alarms_per_car_week=0.12,
        false_alarms_low=0.05,
        suspect_share=0.02,
        recall=0.7,
        recall_by_fault={},
        auroc=0.9,
        recall_drawn=np.empty(0),
        thresholds_drawn=np.empty(0),
    ),
    gains={
        "max_abs_z": Difference(0.1, 0.08, 0.12),
        "mahalanobis": Difference(0.05, 0.03, 0.07),
        "linear": Difference(0.02, -0.01, 0.04),
        "champion": Difference(0.0, -0.01, 0.01),
    },
    budget=0.1,
    car_weeks=40.0,
    tflite_bytes=40_000,
    finite=True,
    parity=1e-6,
)


def changed(evidence: Evidence, **changes: Any) -> Evidence:
    """The evidence with other values, each given by the name of its field or of the gain."""
    names = {item.name for item in dataclasses.fields(evidence)}
    gains = dict(evidence.gains)
    gains |= {name: changes.pop(name) for name in [*changes] if isinstance(changes[name], Difference)}
    own = {name: changes.pop(name) for name in [*changes] if name not in names}
    return dataclasses.replace(
        evidence, gains=gains, candidate=dataclasses.replace(evidence.candidate, **own), **changes
    )


NAN = Difference(math.nan, math.nan, math.nan)


def test_a_good_candidate_passes() -> None:
    """It passes, with and without a champion."""
    assert reasons(GOOD) == []
    assert (
        reasons(
            dataclasses.replace(GOOD, gains={name: GOOD.gains[name] for name in ("max_abs_z", "mahalanobis")})
        )
        == []
    )


def test_a_candidate_that_foresees_everything_need_not_be_better() -> None:
    """If a baseline foresees all failures, too, being as good is enough."""
    as_good = Difference(0.0, 0.0, 0.0)
    assert reasons(changed(GOOD, recall=1.0, mahalanobis=as_good)) == []
    assert reasons(changed(GOOD, recall=0.7, mahalanobis=as_good)) != []


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
        (
            {"false_alarms_per_car_week": 1.0, "false_alarms_low": 0.5},
            "1 false alarms a car-week (hardly less than 0.5)",
        ),
        ({"false_alarms_low": math.nan}, "false alarms"),
        ({"suspect_share": 0.2}, "20% of the healthy cars are suspect"),
        ({"max_abs_z": Difference(0.01, -0.01, 0.03)}, "not better than max|z|: recall +0.010"),
        ({"max_abs_z": NAN}, "not better than max|z|"),
        ({"mahalanobis": Difference(-0.05, -0.08, -0.02)}, "not better than Mahalanobis"),
        ({"linear": Difference(-0.05, -0.08, -0.02)}, "better without its network: recall -0.050"),
        ({"champion": Difference(-0.05, -0.08, -0.02)}, "worse than the champion: recall -0.050"),
        ({"champion": NAN}, "worse than the champion"),
    ],
)
def test_one_failing_measurement_refuses(changes: dict[str, Any], reason: str) -> None:
    """Exactly one reason, with the numbers in it."""
    (given,) = reasons(changed(GOOD, **changes))
    assert reason in given


def test_noise_does_not_refuse() -> None:
    """A loss within noise passes, a sure loss below 0.01 and unlucky false alarms, too."""
    noisy = changed(
        GOOD,
        linear=Difference(-0.05, -0.12, 0.01),
        champion=Difference(-0.006, -0.008, -0.004),
        false_alarms_per_car_week=0.4,
        false_alarms_low=0.15,
    )
    assert reasons(noisy) == []


def test_an_extrapolated_threshold_may_be_further_off() -> None:
    """If the test cars drove too little for one allowed alert, up to ten times the budget passes."""
    few = changed(GOOD, car_weeks=0.1, false_alarms_per_car_week=1.5, false_alarms_low=0.9)
    assert reasons(few) == []
    assert len(reasons(changed(few, false_alarms_low=1.1))) == 1


def test_all_reasons_are_given() -> None:
    """All failed checks are listed at once."""
    bad = changed(GOOD, finite=False, parity=1.0, unsound=("a", "b"), suspect_share=1.0)
    assert len(reasons(bad)) == 5


def examined(gain: Difference, *, own: float | None = None, alarms: float = 0.1) -> Examined:
    """An exam with this gain for the same budget; `own`: the candidate's recall with its own threshold.

    The champion's recall is 0.7.
    """

    def judged(recall: float) -> Judgement:
        return dataclasses.replace(
            GOOD.candidate, recall=recall, recall_drawn=np.full(20, recall), false_alarms_low=alarms
        )

    return Examined(judged(0.7 + gain.mean), judged(0.7), gain, None if own is None else judged(own), 100)


@pytest.mark.parametrize(
    ("exam", "reason"),
    [
        (examined(Difference(-0.06, -0.08, -0.04)), "worse than the champion in its exam: recall -0.060"),
        (examined(NAN), "worse than the champion in its exam"),
        (
            examined(Difference(0.0, 0.0, 0.0), own=0.3),
            "its threshold is too high: it foresees 30% in the champion's exam, the champion 70%",
        ),
        (
            examined(Difference(0.0, 0.0, 0.0), own=0.7, alarms=1.1),
            "(hardly less than 1.1), at most 1",
        ),
    ],
)
def test_who_fails_the_exam_is_refused(exam: Examined, reason: str) -> None:
    """Less recall than the champion minus 0.05, or many more false alarms; one reason each."""
    (given,) = reasons(changed(GOOD, exam=exam))
    assert reason in given


def test_a_small_or_an_unsure_loss_in_the_exam_passes() -> None:
    """Another season costs a little recall, and few failures tell little."""
    assert reasons(changed(GOOD, exam=examined(Difference(-0.04, -0.06, -0.02), own=0.5))) == []
    assert reasons(changed(GOOD, exam=examined(Difference(-0.1, -0.25, 0.05)))) == []


def champion(recall: float) -> Judgement:
    return dataclasses.replace(GOOD.candidate, recall=recall, recall_drawn=np.full(200, recall))


def test_a_model_that_will_shadow_first_may_lose_a_little() -> None:
    """Its trial judges small losses on the whole fleet; a clear loss is refused as ever."""
    little = changed(GOOD, champion=Difference(-0.03, -0.05, -0.015))
    assert reasons(changed(little, on_trial=True)) == []
    assert len(reasons(little)) == 1
    assert len(reasons(changed(GOOD, champion=Difference(-0.08, -0.1, -0.06), on_trial=True))) == 1


def test_a_slice_in_which_the_champion_is_blind_is_refused() -> None:
    """Less than half of what it foresaw when it was published; with few failing cars that tells nothing."""
    blind = changed(GOOD, champion=champion(0.3), champion_before=0.9, failing_cars=20)
    (reason,) = reasons(blind)
    assert reason == (
        "the slice is unsound: the champion foresees 30% of its failures, when it was published 90%"
    )
    assert reasons(changed(blind, failing_cars=19)) == []
    assert reasons(changed(blind, champion_before=None)) == []
    assert reasons(changed(blind, champion=champion(0.5))) == []


def test_values_out_of_bounds_refuse_the_slice_by_name() -> None:
    """More than 1 % of a signal's values; fewer are single broken sensors."""
    wrong = changed(GOOD, outside={"battery_voltage": 0.0101, "speed": 0.01})
    assert reasons(wrong) == ["the slice is unsound: values outside of physical bounds: battery_voltage 1.0%"]


def test_a_person_may_vouch_for_a_slice() -> None:
    """--trust-slice, for a fleet that has really changed: all other checks remain."""
    wrong = changed(
        GOOD,
        outside={"speed": 0.5},
        champion=champion(0.1),
        champion_before=0.9,
        failing_cars=50,
        exam=examined(Difference(-0.5, -0.6, -0.4)),
    )
    assert len(reasons(wrong)) == 3
    assert reasons(changed(wrong, trusted=True)) == []
    assert len(reasons(changed(wrong, trusted=True, suspect_share=0.5))) == 1
