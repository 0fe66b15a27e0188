"""The scorecard holds the alerts against the faults that were there."""

import json

import pytest

from contract.foresight import JudgedAlert
from local.scorecard import AFTERMATH_S, Scorecard, draw_up

WEEK_S = 7 * 86_400


def incident(car: str, onset_s: float, failed_s: float, repaired_s: float) -> dict[str, object]:
    times = {"onset_at": onset_s * 1000, "failed_at": failed_s * 1000, "repaired_at": repaired_s * 1000}
    return {"car_id": car, "kind": "slow_puncture", "component": "tire_1_2", **times}


def alert(car: str, at_s: float, component: str = "tire_1_2") -> JudgedAlert:
    return JudgedAlert(f"{car}-{at_s}", car, component, at_s, at_s + 1, 1)


def card(*alerts: JudgedAlert, to_s: float = 100) -> Scorecard:
    """The truth: car a has one fault from 10 to its failure at 60, repaired at 80; car b is sound."""
    return draw_up([incident("a", 10, 60, 80)], alerts, cars=2, from_s=0, to_s=to_s)


def test_a_fault_is_foreseen_by_an_alert_between_onset_and_failure() -> None:
    """The lead is from the telling of the first one."""
    drawn = card(alert("a", 40), alert("a", 30))
    assert (drawn.row(drawn.faults)["foreseen"], drawn.faults[0].lead_s) == (1, 29)


def test_a_fault_found_after_its_failure_is_not_foreseen() -> None:
    """It counts as found, without a lead."""
    drawn = card(alert("a", 65))
    row = drawn.row(drawn.faults)
    assert (row["found"], row["foreseen"], row["median_lead_s"]) == (1, 0, None)
    assert drawn.false_alarms == []


def test_an_alert_before_the_onset_is_chance() -> None:
    """Also where it is still open when the fault begins."""
    drawn = card(alert("a", 5))
    assert (drawn.row(drawn.faults)["found"], len(drawn.false_alarms)) == (0, 1)


@pytest.mark.parametrize(("at_s", "count"), [(80 + AFTERMATH_S, 0), (81 + AFTERMATH_S, 1)])
def test_soon_after_the_repair_an_alert_is_not_false(at_s: float, count: int) -> None:
    """The smoothed score still remembers the fault."""
    assert len(card(alert("a", at_s)).false_alarms) == count


def test_a_fault_counts_as_far_as_it_has_come() -> None:
    """Present, half grown, failed; foreseen are only those that have failed."""
    for to_s, expected in ((20, (1, 0, 0, 0)), (40, (1, 1, 0, 0)), (70, (1, 1, 1, 1))):
        drawn = card(alert("a", 12), to_s=to_s)
        row = drawn.row(drawn.faults)
        assert tuple(row[key] for key in ("present", "half_grown", "failed", "foreseen")) == expected


def test_false_alarms_are_counted_per_car_week_of_warm_healthy_cars() -> None:
    """Neither the learning period nor a fault is time in which an alarm would be false."""
    faulty_s = 70 + AFTERMATH_S
    drawn = draw_up(
        [incident("a", 10, 60, 80)], [alert("b", 50)], cars=2, from_s=0, to_s=WEEK_S, learning_s=5
    )
    assert drawn.healthy_s == 2 * (WEEK_S - 5) - faulty_s
    assert drawn.false_alarms_per_car_week() == pytest.approx(0.5, rel=1e-3)
    lapse = draw_up([], [alert("b", 50)], cars=2, from_s=0, to_s=WEEK_S / 60, time_lapse=60)
    assert lapse.false_alarms_per_car_week() == pytest.approx(0.5)
    nothing = draw_up([], [], cars=1, from_s=0, to_s=1, learning_s=5)
    assert nothing.false_alarms_per_car_week() is None


def test_a_fault_that_begins_after_the_run_is_not_present() -> None:
    """Only faults of the scored time count."""
    drawn = draw_up([incident("a", 100, 160, 180)], [], cars=1, from_s=0, to_s=100)
    assert drawn.faults == []
    assert drawn.as_dict()["faults_present"] == 0


def test_it_is_grouped_by_kind_and_by_component() -> None:
    """And written as JSON, with the hypothesis held against the component with its place."""
    content = card(alert("a", 30, "tire_2_2")).as_dict()
    assert content["per_kind"]["slow_puncture"] == content["per_component"]["tire"]
    assert (content["faults_foreseen"], content["hypothesis_right"]) == (1, 0)
    json.dumps(content, allow_nan=False)
