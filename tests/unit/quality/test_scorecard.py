"""The document, and the goals held against it."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quality import goals, scorecard
from quality.ground import Failure
from quality.metrics import CURVE, Foresight
from quality.seed import Answers, Outcome
from quality.settings import CHANGES, Settings

FAILURES = tuple(
    Failure(car, kind, f"{kind}_part", 10 * 3600.0, 10 * 3600.0 + growth * 3600)
    for car, (kind, growth) in enumerate([("leak", 4.0), ("leak", 8.0), ("drift", 20.0), ("drift", 40.0)])
)


def _answers(lead_h: list[float], false_alarms: float = 0.1) -> Answers:
    alarms = {"healthy": false_alarms, **dict.fromkeys(CHANGES, 3 * false_alarms)}
    during = dict.fromkeys(CHANGES, np.array([np.nan, lead_h[3]]))  # the change hides the failure of car 2
    foresights = tuple(Foresight(1.0, alarms, np.array(lead_h), during) for _ in CURVE)
    components = ["leak_part", "other_part", "drift_part", "drift_part"]
    named = tuple(None if np.isnan(lead) else name for lead, name in zip(lead_h, components, strict=True))
    aurocs = {"leak": 0.9, "drift": 0.6}
    return Answers(foresights, foresights[1], 0.75, aurocs, named, 1.0)


def _outcome(seed: int, **leads: list[float]) -> Outcome:
    answers = {name: _answers(lead_h) for name, lead_h in leads.items()}
    spoilt = {"ours": _answers([np.nan] * 4)} if "ours" in answers else {}
    return Outcome(seed, FAILURES, dict.fromkeys(CHANGES, np.array([2, 3])), answers, spoilt)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    nan = np.nan
    outcomes = [
        _outcome(
            1,
            autoencoder_stateless=[1, nan, nan, nan],
            linear_conditional=[1, 1, nan, nan],
            ours=[1, 2, 3, nan],
        ),
        _outcome(
            2, autoencoder_stateless=[nan] * 4, linear_conditional=[1, 1, nan, nan], ours=[4, 5, 6, 0.25]
        ),
    ]
    return scorecard.document(Settings(seeds=2), outcomes, ["--seeds", "2"])


@pytest.fixture
def card(document: dict[str, Any]) -> dict[str, Any]:
    """A copy that the test may change."""
    return copy.deepcopy(document)


def test_figures_are_means_over_seeds_with_their_spread(card: dict[str, Any]):
    """Recall of 3 and of 4 failures of 4; the leads' median is of each seed, too."""
    ours = card["detectors"]["ours"]
    assert ours["recall_at_0.1"] == pytest.approx(7 / 8)
    assert ours["spread"]["recall_at_0.1"] == pytest.approx(np.std([0.75, 1.0], ddof=1))
    assert ours["median_lead_h"] == pytest.approx((2 + 4.5) / 2)
    assert ours["during_changes"]["firmware"]["false_alarms_at_1"] == pytest.approx(0.3)
    assert card["spoilt"]["ours"]["recall_at_0.1"] == 0


def test_blindness_during_a_change_is_seen(card: dict[str, Any]):
    """Four failures: one is foreseen in the change, three without it."""
    during = card["detectors"]["ours"]["during_changes"]["firmware"]
    assert (during["recall_at_0.1"], during["recall_without_at_0.1"]) == (0.25, 0.75)
    assert card["failures_in_changes"] == dict.fromkeys(CHANGES, 4)


def test_figures_of_a_fault_are_of_all_seeds_failures(card: dict[str, Any]):
    """Few failures of a kind fall to one seed: they are counted together."""
    drift = card["detectors"]["ours"]["per_fault"]["drift"]
    assert drift["recall_at_0.1"] == pytest.approx(3 / 4)
    assert drift["median_lead_h"] == 3.0
    leak = card["detectors"]["ours"]["per_fault"]["leak"]
    assert (leak["component_named"], drift["component_named"]) == (0.5, 1.0)
    assert card["detectors"]["ours"]["named"]["leak"] == {"leak_part": 2, "other_part": 2}
    assert card["faults"]["drift"]["failures"] == 4


def test_the_file_has_the_promised_form(card: dict[str, Any], tmp_path: Path):
    """scorecard.json: names and keys that others read, no NaN in it."""
    scorecard.write(card, tmp_path)
    read = json.loads((tmp_path / "scorecard.json").read_text(), parse_constant=pytest.fail)
    for row in read["detectors"].values():
        assert {"recall_at_0.1", "recall_at_1", "auroc", "median_lead_h", "per_fault", "spread"} <= set(row)
        for fault in row["per_fault"].values():
            assert {"recall_at_0.1", "median_lead_h", "p10_lead_h"} <= set(fault)
    assert read["command"] == "python -m quality --seeds 2"
    assert read["detectors"]["autoencoder_stateless"]["per_fault"]["drift"]["median_lead_h"] is None


def test_goals_are_judged_by_the_card(card: dict[str, Any]):
    """Seven times the autoencoder, above the linear model, no fault below half; two kinds are not five."""
    assert [goal.reached for goal in goals.goals(card)] == [True, True, True, False, True]
    assert "0.88 / 0.12 = 7.0" in [goal.figure for goal in goals.goals(card)]


def test_a_lead_over_linear_that_seeds_could_make_is_none(card: dict[str, Any]):
    """Above by less than the spread between seeds is not reached."""
    card["detectors"]["linear_conditional"]["recall_at_0.1"] = 0.8
    over_linear = next(goal for goal in goals.goals(card) if "linear" in goal.text)
    assert not over_linear.reached


def test_without_our_model_there_is_nothing_to_judge(card: dict[str, Any]):
    """A run of other detectors has no goals."""
    del card["detectors"]["ours"]
    assert goals.goals(card) == []
