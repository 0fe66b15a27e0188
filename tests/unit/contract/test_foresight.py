"""Alerts are matched with the workshops' reports, in whatever order both arrive."""

import itertools
import json
import math
from typing import Any

import pytest

from contract import foresight as module
from contract.foresight import ALL, AlertVerdicts, kind

HORIZON_S, REPORT_S = 100.0, 10.0


def alert(at_s: float, component: str = "tire_1_2", car: str = "a", told_s: float | None = None) -> Any:
    """The record that opens an alert; scored at once unless said otherwise."""
    scored_s = at_s if told_s is None else told_s
    return {
        "car_id": car,
        "alert_id": f"{car}-{at_s:.0f}",
        "action": "opened",
        "opened_at": 1000 * at_s,
        "at": 1000 * at_s,
        "component": component,
        "model_version": 1,
        "scored_at": 1000 * scored_s,
    }


def report(at_s: float, action: str = "failed", component: str = "tire_1_2", car: str = "a") -> Any:
    """A workshop's report."""
    return {
        "car_id": car,
        "report_id": f"{car}-{component}-{action}-{at_s}",
        "component": component,
        "action": action,
        "occurred_at": 1000 * at_s,
        "reported_at": 1000 * (at_s + 2),
    }


def inspection(at_s: float, alert_id: str | None = None, car: str = "a") -> Any:
    """A workshop looked at the car and found nothing; `alert_id` is why it looked."""
    found_nothing = {"inspected": True, "alert_id": alert_id, "report_id": f"{car}-inspected-{at_s}"}
    return report(at_s, "repaired", car=car) | found_nothing


def matched(*records: Any) -> AlertVerdicts:
    """All records taken, in their order."""
    foresight = AlertVerdicts(HORIZON_S, REPORT_S)
    for record in records:
        take = foresight.take_report if "report_id" in record else foresight.take_alert
        take(record)
    return foresight


def verdicts(foresight: AlertVerdicts, now_s: float) -> list[str]:
    """In the order of the alerts' telling."""
    return [alert.verdict for alert in foresight.alerts(now_s)]


def leads(foresight: AlertVerdicts) -> list[float | None]:
    """The verdicts on all failures, in their order."""
    return [failure.lead_s for failure in foresight.failures(0)]


def test_a_failure_after_the_alert_confirms_it() -> None:
    """The lead is from the alert's telling to the failure, not to the report."""
    foresight = matched(alert(10), report(60))
    assert (verdicts(foresight, 70), leads(foresight)) == (["confirmed"], [50])


def test_an_alert_is_pending_until_its_time_and_that_of_the_report_are_over() -> None:
    """Before, it counts neither for nor against the precision."""
    foresight = matched(alert(10))
    assert verdicts(foresight, 10 + HORIZON_S + REPORT_S) == ["pending"]
    assert foresight.tallies(110, 0)[ALL].precision is None
    assert verdicts(foresight, 10 + HORIZON_S + REPORT_S + 1) == ["false"]
    assert foresight.tallies(121, 0)[ALL].precision == 0


def test_a_late_report_turns_a_false_alert() -> None:
    """What counts is when the component failed, not when one heard of it."""
    foresight = matched(alert(10))
    assert verdicts(foresight, 500) == ["false"]
    foresight.take_report(report(60))
    assert verdicts(foresight, 500) == ["confirmed"]


def test_a_failure_beyond_the_horizon_confirms_nothing() -> None:
    """Who alarms early enough is always right: the horizon bounds it."""
    foresight = matched(alert(10), report(10 + HORIZON_S + 1))
    assert (verdicts(foresight, 500), leads(foresight)) == (["false"], [None])


def test_an_alert_on_a_broken_car_is_late_and_foresees_nothing() -> None:
    """It is neither right nor false; the failure before it is missed."""
    foresight = matched(report(50), alert(60), report(70, "repaired"))
    tally = foresight.tallies(500, 0)[ALL]
    assert verdicts(foresight, 500) == ["late"]
    assert (tally.precision, tally.recall, tally.failures) == (None, 0, 1)


def test_an_alert_told_only_after_the_failure_is_late() -> None:
    """A scorer that catches up opens it on an old sample: nobody could have heeded it."""
    foresight = matched(alert(40, told_s=80), report(50), report(70, "repaired"))
    assert (verdicts(foresight, 500), leads(foresight)) == (["late"], [None])


def test_an_alert_ends_with_the_next_repair() -> None:
    """What stays open across a repair does not foresee the next fault of the car."""
    foresight = matched(alert(10), report(30), report(40, "repaired"), report(80))
    assert (verdicts(foresight, 500), leads(foresight)) == (["confirmed"], [20, None])


def test_the_same_component_fails_again() -> None:
    """Each failure has its own alert, and its own lead."""
    foresight = matched(alert(10), report(30), report(40, "repaired"), alert(60), report(90))
    assert (verdicts(foresight, 500), leads(foresight)) == (["confirmed", "confirmed"], [20, 30])


def test_two_components_fail_before_the_workshop_sees_the_car() -> None:
    """One alert foresees both failures; its hypothesis is held against the first."""
    foresight = matched(alert(10, "battery"), report(30), report(50, component="battery"))
    tally = foresight.tallies(500, 0)
    assert leads(foresight) == [20, 40]
    assert (tally[ALL].confirmed, tally[ALL].right, tally[ALL].foreseen) == (1, 0, 2)


def test_the_first_of_several_alerts_gives_the_lead() -> None:
    """An alert that closes and opens again is confirmed each time; the failure counts once."""
    closed = alert(10) | {"action": "closed"}
    foresight = matched(alert(10), closed, alert(40), report(60))
    assert (verdicts(foresight, 500), leads(foresight)) == (["confirmed", "confirmed"], [50])


def test_an_inspection_that_finds_nothing_makes_the_alert_false_at_once() -> None:
    """The workshop has looked: nobody waits for the horizon."""
    foresight = matched(alert(10), inspection(20, "a-10"))
    assert verdicts(foresight, 21) == ["false"]
    assert foresight.tallies(21, 0)[ALL].precision == 0
    assert [each.inspected for each in foresight.alerts(21)] == [True]


def test_an_inspection_speaks_for_the_alert_that_it_names() -> None:
    """Other alerts of the car stay open: nobody looked for what they claim."""
    foresight = matched(alert(10), alert(15, "battery"), inspection(20, "a-15"))
    assert verdicts(foresight, 21) == ["pending", "false"]


@pytest.mark.parametrize("alert_id", [None, ""])
def test_an_inspection_that_names_no_alert_speaks_for_all_before_it(alert_id: str | None) -> None:
    """Alerts of later, and of other cars, are not meant."""
    foresight = matched(
        alert(10), alert(15, "battery"), inspection(20, alert_id), alert(25), alert(10, car="b")
    )
    assert verdicts(foresight, 30) == ["false", "pending", "false", "pending"]


def test_a_failure_after_the_inspection_still_confirms_the_alert() -> None:
    """The workshop has overlooked it: the failure came within the claim, as the alert had said."""
    foresight = matched(alert(10), inspection(20, "a-10"), report(60))
    assert (verdicts(foresight, 70), leads(foresight)) == (["confirmed"], [50])


def test_an_inspection_ends_no_claim_and_repairs_nothing() -> None:
    """It is neither a failure nor a repair: the broken component stays broken, and the other alert holds."""
    foresight = matched(alert(10), inspection(20, "another"), report(60), alert(70), inspection(80, "a-70"))
    assert (verdicts(foresight, 90), leads(foresight)) == (["confirmed", "late"], [50])
    assert [failure.repaired_s for failure in foresight.failures(0)] == [math.inf]


def test_inspected_failures_count_as_failures() -> None:
    """A report that contradicts itself is believed to be a failure: the car was not healthy."""
    foresight = matched(alert(10), report(60) | {"inspected": True, "alert_id": "a-10"})
    assert (verdicts(foresight, 70), leads(foresight)) == (["confirmed"], [50])


def test_another_car_confirms_nothing() -> None:
    """Cars are apart."""
    foresight = matched(alert(10), report(30, car="b"))
    assert (verdicts(foresight, 500), leads(foresight)) == (["false"], [None])


def test_records_that_come_twice_count_once() -> None:
    """Both topics are at least once."""
    foresight = matched(alert(10), alert(10), report(60), report(60))
    assert (len(foresight.alerts(500)), len(foresight.failures(0))) == (1, 1)


def test_the_order_of_arrival_changes_nothing() -> None:
    """Alerts and reports travel on their own ways."""
    records = [alert(10), report(30), report(40, "repaired"), alert(60), report(90), alert(95)]
    expected = matched(*records).as_dict(150, 0)
    assert expected["all"]["confirmed"] == 2
    assert expected["all"]["late"] == 1
    for order in itertools.permutations(records):
        assert matched(*order).as_dict(150, 0) == expected


def test_the_order_of_arrival_changes_nothing_with_inspections_either() -> None:
    """A report that is late on its way may come before the alert that it names, or after the failure."""
    records = [alert(10), inspection(20, "a-10"), alert(15), inspection(30), report(60), alert(105)]
    expected = matched(*records).as_dict(70, 0)
    assert (expected["all"]["confirmed"], expected["all"]["late"]) == (2, 1)
    without_failure = [record for record in records if record.get("action") != "failed"]
    dismissed = matched(*without_failure).as_dict(70, 0)
    assert (dismissed["all"]["false"], dismissed["all"]["pending"]) == (2, 1)
    for order in itertools.permutations(records):
        assert matched(*order).as_dict(70, 0) == expected
    for order in itertools.permutations(without_failure):
        assert matched(*order).as_dict(70, 0) == dismissed


def test_alerts_count_for_what_they_name_and_failures_for_what_failed() -> None:
    """A wrong hypothesis confirms the alert, and is counted as wrong."""
    foresight = matched(alert(10, "coolant_circuit"), report(60), alert(10, "", car="b"))
    tallies = foresight.tallies(500, 0)
    assert list(tallies) == ["coolant_circuit", "tire", "unknown", ALL]
    coolant, tire = tallies["coolant_circuit"], tallies["tire"]
    assert (coolant.confirmed, coolant.right, coolant.failures) == (1, 0, 0)
    assert (tire.alerts, tire.failures, tire.median_lead_s) == (0, 1, 50)
    assert tallies["unknown"].false == 1
    assert (tallies[ALL].precision, tallies[ALL].recall) == (0.5, 1)


def test_failures_before_anybody_watched_do_not_count() -> None:
    """Without a model nothing can be foreseen; their number is reported."""
    foresight = matched(report(20), report(60, car="b"))
    content = foresight.as_dict(100, 50)
    assert (content["all"]["failures"], content["failures_before_the_first_model"]) == (1, 1)
    json.dumps(content, allow_nan=False)


def test_alerts_beyond_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that alarms on everything does not fill the memory."""
    monkeypatch.setattr(module, "ALERTS_MAX", 2)
    foresight = matched(*(alert(at) for at in (1, 2, 3)))
    assert (len(foresight.alerts(0)), foresight.left_out) == (2, 1)


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        ("tire_1_2", "tire"),
        ("wheel_bearing_2_1", "wheel_bearing"),
        ("air_filter", "air_filter"),
        ("coolant_temp_sensor", "sensor"),
        ("", "unknown"),
    ],
)
def test_a_kind_of_component_has_no_place(component: str, expected: str) -> None:
    """Wheels and sensors are told apart in the truth and counted together."""
    assert kind(component) == expected
