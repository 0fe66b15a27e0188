"""The verdict on a trial: each rule once kept and once broken."""

import math
from dataclasses import replace
from typing import Any

import pytest

from contract.evidence import AT_THRESHOLD, LEVELS
from trainer.watch.drift import Drift
from trainer.watch.verdict import (
    Rules,
    Standing,
    Trial,
    judge,
    silent_tolerated,
    surely_more,
    surely_over,
    threshold_multiple,
)

RULES = Rules(budget=0.1, car_weeks_min=100.0)
MOVED = Drift(kind="signal", signal="battery_voltage", share=0.9, reason="90% of the cars send clearly more")
FIRMWARE = Drift(kind="unlearned", share=0.5, reason="50% of the cars have to be learned anew")
NEW_KIND = Drift(kind="strange", share=0.2, reason="20% of the cars are of an unknown kind")


def crossings(at_threshold: int) -> tuple[int, ...]:
    """Half as many at each further level, twice as many at each before."""
    return tuple(int(at_threshold * 2.0 ** (AT_THRESHOLD - number)) for number in range(len(LEVELS)))


def standing(version: int, openings: int = 8, **fields: Any) -> Standing:
    usual: dict[str, Any] = {"car_weeks": 120.0, "cars": 1000, "learning": 3, "strange": 1}
    return Standing(version=version, crossings=crossings(openings), **usual | fields)


def trial(
    champion: dict[str, Any] | None = None, challenger: dict[str, Any] | None = None, **fields: Any
) -> Trial:
    """A trial that deserves a promotion."""
    usual: dict[str, Any] = {"share": 0.0, "learning_times": 2.5, "foreseen": 20, "foreseen_too": 19}
    return Trial(
        champion=standing(1, **champion or {}), challenger=standing(2, **challenger or {}), **usual | fields
    )


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_a_good_challenger_is_promoted(share: float) -> None:
    """At any share, with its own threshold where that keeps to the budget."""
    verdict = judge(trial(share=share), RULES)
    assert (verdict.action, verdict.multiple) == ("promote", 1.0)
    assert verdict.reasons[0] == "120 car-weeks judged"


@pytest.mark.parametrize(
    ("champion", "challenger", "fields", "why"),
    [
        ({}, {"car_weeks": 99.0}, {}, "99 car-weeks judged, at least 100 are needed"),
        ({}, {"learning": 30}, {}, "31 of 1000 cars on trial are not judged by it yet, 4 of 1000 by"),
        ({}, {"cars": 0, "strange": 0}, {}, "no scorer has counted"),
        ({}, {}, {"foreseen_too": 18}, "of 20 failures that the champion foresaw it foresaw 18"),
        (
            {"openings": 40, "alone": 5},
            {"openings": 60, "alone": 40},
            {},
            "40 alerts of version 2 alone, surely more than the 24.0 that are tolerated, and than the 5",
        ),
        ({}, {"openings": 60, "car_weeks": 0.0}, {}, "0 car-weeks judged"),
        ({}, {}, {"held": True}, "only a person promotes it: it is held"),
    ],
)
def test_it_waits_and_says_for_what(champion: Any, challenger: Any, fields: Any, why: str) -> None:
    """Too little driving, cars not learned, failures missed, alerts of both models, a person's word."""
    verdict = judge(trial(champion, challenger, **fields), RULES)
    assert verdict.action == "wait"
    assert why in verdict.reasons[0]


def test_a_fleet_with_many_faults_keeps_no_challenger_from_promotion() -> None:
    """Both models raise three times the tolerated alerts: most failures have not come yet.

    The champion has judged twice as much, all cars, but is alone only where the challenger judges, too.
    """
    champion = {"openings": 140, "alone": 35, "car_weeks": 240.0, "cars": 2000}
    challenger = {"openings": 80, "alone": 42}
    assert judge(trial(champion, challenger), RULES).action == "promote"
    assert judge(trial(champion, challenger | {"alone": 60}), RULES).action == "wait"


def test_an_alert_that_came_true_elsewhere_explains_nothing_here() -> None:
    """The champion's openings alone are those of cars on trial, so only reports of these cars count."""
    assert standing(1, alone=35, explained=20).apart == 15
    assert standing(1, alone=35, explained=20, explained_elsewhere=12).apart == 27


@pytest.mark.parametrize(
    ("silent", "on_trial", "tolerated"),
    [(0, 500, 5), (200, 1000, 210), (200, 500, 100 + 18.97 + 5), (1000, 500, 505)],
)
def test_a_draw_of_the_cars_may_have_more_unjudged_ones(silent: int, on_trial: int, tolerated: float) -> None:
    """With 1 000 cars; three standard deviations of a hypergeometric number are 3 √(n p (1-p) (1-n/N))."""
    assert silent_tolerated(silent, 1000, on_trial) == pytest.approx(tolerated, abs=0.01)


def test_one_failure_missed_of_few_is_chance() -> None:
    """Two of three are not."""
    assert judge(trial(foreseen=3, foreseen_too=2), RULES).action == "promote"
    assert judge(trial(foreseen=3, foreseen_too=1), RULES).action == "wait"


@pytest.mark.parametrize(
    ("count", "other", "sure"), [(9, 2, True), (8, 2, False), (3, 9, False), (5, 0, True)]
)
def test_more_openings_are_sure_by_the_binomial_bound(count: int, other: int, sure: bool) -> None:
    """With equal exposure, as heads of a coin: 9 of 11 are 3.3 %, 8 of 10 are 5.5 %, 5 of 5 are 3.1 %."""
    assert surely_more(standing(2, alone=count), standing(1, alone=other)) == sure


def test_by_hand_nothing_is_promoted_but_it_is_said_that_it_could_be() -> None:
    """--promote by-hand; a withdrawal needs nobody."""
    by_hand = replace(RULES, by_evidence=False)
    verdict = judge(trial(), by_hand)
    assert verdict.action == "wait"
    assert verdict.reasons[:2] == ("only a person promotes it: --promote by-hand", "120 car-weeks judged")
    assert judge(trial(challenger={"openings": 60, "alone": 60}), by_hand).action == "withdraw"


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_too_many_alerts_of_its_own_withdraw_it(share: float) -> None:
    """Long before the trial is over, and at any share: at 1 that is a roll-back."""
    bad = {"openings": 12, "alone": 11, "car_weeks": 15.0}
    verdict = judge(trial(challenger=bad, share=share), RULES)
    assert verdict.action == "withdraw"
    assert "12 alerts of version 2" in verdict.reasons[0]
    assert "surely more than the 3.0 that are tolerated; 8 alerts of version 1" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("champion", "challenger"),
    [
        (
            {"openings": 60},
            {"openings": 60, "alone": 60},
        ),  # the control raises as many: the fleet, not the model
        ({}, {"openings": 60, "alone": 60, "explained": 40}),  # most of them were right
        ({}, {"openings": 60, "alone": 20}),  # the champion has the same alerts open, from before the trial
        ({}, {"openings": 4, "alone": 4, "car_weeks": 0.1}),  # so few may be chance
    ],
)
def test_alerts_that_may_be_right_do_not_withdraw_it(champion: Any, challenger: Any) -> None:
    """Only what is surely the challenger's own fault does."""
    assert judge(trial(champion, challenger), RULES).action != "withdraw"


def test_a_model_that_does_not_know_the_cars_is_withdrawn_once_they_are_learned() -> None:
    """Cars that it has not learned are no reason: the champion goes on scoring them."""
    strange = {"strange": 300, "car_weeks": 0.0, "openings": 0}
    assert judge(trial(challenger=strange, learning_times=1.9), RULES).action == "wait"
    verdict = judge(trial(challenger=strange, learning_times=2.0), RULES)
    assert verdict.action == "withdraw"
    assert verdict.reasons == (
        "300 of 1000 cars on trial are of a kind that it does not know, 1 of 1000 to the champion",
    )
    assert judge(trial(challenger={"learning": 300}, learning_times=9.0), RULES).action == "wait"


def test_a_drift_holds_until_workshops_have_looked() -> None:
    """Three moved cars at least, four fifths of them without a finding."""
    drifted = trial(drift=(MOVED,), moved=900)
    verdict = judge(drifted, RULES)
    assert verdict.action == "hold"
    assert verdict.reasons[0] == "the champion's cars have changed: 90% of the cars send clearly more"
    assert "0 of 900 cars with an alert were looked at" in verdict.reasons[2]
    assert judge(replace(drifted, nothing_found=2), RULES).action == "hold"
    assert judge(replace(drifted, nothing_found=3), RULES).action == "promote"
    assert judge(replace(drifted, nothing_found=3, found=1), RULES).action == "hold"
    assert judge(replace(drifted, nothing_found=4, found=1), RULES).action == "promote"


def test_what_the_cars_announce_needs_no_workshop() -> None:
    """A firmware and a new vehicle model; beside them a signal may have moved for another reason."""
    assert judge(trial(drift=(FIRMWARE,)), RULES).action == "promote"
    assert judge(trial(drift=(NEW_KIND, FIRMWARE)), RULES).action == "promote"
    assert judge(trial(drift=(NEW_KIND, MOVED)), RULES).action == "hold"


@pytest.mark.parametrize("allowed", [0.3, 2.0, 20.0, 400.0, 50_000.0])
def test_the_bound_is_poisson_s(allowed: float) -> None:
    """The smallest count that is surely over is the first whose tail, added up term by term, is below 5 %."""

    def tail(count: int) -> float:
        terms = (k * math.log(allowed) - allowed - math.lgamma(k + 1) for k in range(count))
        return 1 - math.fsum(map(math.exp, terms))

    first = next(count for count in range(5, 10**6) if surely_over(count, allowed))
    assert tail(first) < 0.05
    assert first == 5 or tail(first - 1) >= 0.05


def test_the_bound_at_its_ends() -> None:
    """No driving, no openings, fewer than five."""
    assert not surely_over(0, 0.0)
    assert not surely_over(4, 0.001)
    assert surely_over(5, 0.0)
    assert not surely_over(5, 5.0)


def test_the_threshold_rises_until_the_budget_is_kept() -> None:
    """12 car-weeks' budget allows 12: from 96 openings it takes three levels of half as many each."""
    assert threshold_multiple(standing(2, 12, alone=12), 0.1) == 1.0
    assert threshold_multiple(standing(2, 96, alone=96), 0.1) == LEVELS[AT_THRESHOLD + 3]
    assert threshold_multiple(standing(2, 96, alone=48), 0.1) == LEVELS[AT_THRESHOLD + 2]
    assert threshold_multiple(standing(2, 96, alone=60, explained=12), 0.1) == LEVELS[AT_THRESHOLD + 2]


def test_faults_of_the_fleet_raise_no_threshold() -> None:
    """The champion has 86 of the 96 open, too, and ten are within the budget."""
    assert threshold_multiple(standing(2, 96, alone=10), 0.1) == 1.0


def test_the_threshold_does_not_rise_where_foresight_would_be_lost() -> None:
    """Not to a level with fewer crossings than true alerts, and at most to twice itself."""
    few = (200, 180, 160, 140, 120, 100, 30, *[0] * 9)
    steep = replace(standing(2, alone=100, explained=40), crossings=few)
    assert threshold_multiple(steep, 0.1) == 1.0
    assert threshold_multiple(standing(2, 10**6, alone=10**6), 0.1) == 2.0


def test_the_evidence_is_plain_numbers() -> None:
    """It goes into the manifest of a decision as JSON."""
    document = trial(drift=(MOVED,)).as_dict()
    assert document["drift"] == [MOVED.reason]
    assert document["challenger"]["car_weeks"] == 120.0
    assert document["share"] == 0.0
