"""The plan of faults: who, when, how it grows, and what the workshop reports."""

import numpy as np
import pytest

from simulator import chance
from simulator.faults import HOUR_S, INCIDENTS_PER_CAR, KINDS, ROWS, FaultPlan, Wear


def plan(cars: int = 4000, first: int = 0, seed: int = 1, **wear: float) -> FaultPlan:
    return FaultPlan(chance.keys(seed, first, cars), first, Wear(**wear))


def test_the_share_of_prone_cars_is_the_one_asked_for() -> None:
    """Of 20 000 cars about 5 % have incidents, each the same number of them."""
    cars, counts = np.unique(plan(20_000, share=0.05).car, return_counts=True)
    assert len(cars) / 20_000 == pytest.approx(0.05, abs=0.005)
    assert set(counts) == {INCIDENTS_PER_CAR}


def test_all_components_fail_somewhere() -> None:
    """Every kind of fault and every wheel occurs."""
    names = {plan_.component(i) for plan_ in [plan()] for i in range(len(plan_.car))}
    assert names >= {"coolant_circuit", "air_filter", "wheel_bearing_2_1", "tire_1_2"}
    assert len(names) == sum(4 if kind.wheels else 1 for kind in KINDS)


def test_severity_grows_from_onset_to_failure_and_ends_with_the_repair() -> None:
    """0 before the onset, growing until the failure, 1 until the repair, 0 after it."""
    p = plan()
    for part in (0.0, 0.25, 0.5, 0.99):
        i = slice(0, 1)
        at = float(p.onset_s[0] + part * (p.failed_s[0] - p.onset_s[0]))
        expected = part ** KINDS[p.kind[0]].shape
        assert p.severity(at, i)[0] == pytest.approx(expected, abs=1e-3)
    assert p.severity(float(p.onset_s[0]) - 1, slice(0, 1))[0] == 0
    assert p.severity(float(p.failed_s[0]) + 1, slice(0, 1))[0] == 1
    assert p.severity(float(p.repaired_s[0]), slice(0, 1))[0] == 0


def test_a_car_has_one_fault_at_a_time() -> None:
    """A car's next incident begins only after the repair of the one before."""
    p = plan()
    same_car = p.car[1:] == p.car[:-1]
    assert (p.onset_s[1:][same_car] >= p.repaired_s[:-1][same_car]).all()


def test_ageing_divides_the_times_of_wear_and_nothing_else() -> None:
    """Ten times the ageing: the same cars and components, every time a tenth."""
    slow, fast = plan(ageing=1.0), plan(ageing=10.0)
    np.testing.assert_array_equal(slow.row, fast.row)
    np.testing.assert_allclose(slow.repaired_s, 10 * fast.repaired_s)


def test_no_fault_begins_while_the_fleet_is_to_be_healthy() -> None:
    """healthy_s is in seconds of the run, whatever the ageing."""
    assert plan(ageing=1000.0, healthy_s=60.0).onset_s.min() >= 60.0


def test_growth_takes_the_hours_of_its_kind() -> None:
    """From onset to failure every incident stays within the bounds of its component."""
    p = plan()
    hours = (p.failed_s - p.onset_s) / HOUR_S
    for i, kind in enumerate(KINDS):
        of_kind = hours[p.kind == i]
        assert kind.hours[0] <= of_kind.min()
        assert of_kind.max() <= kind.hours[1]


def test_reports_come_in_order_after_what_they_tell() -> None:
    """Each incident is reported failed, then repaired, each some time after it happened; ids are unique."""
    p = plan(600, share=0.2)
    reports = [p.report(i) for i in range(2 * len(p.car))]
    assert [r.reported_s for r in reports] == sorted(r.reported_s for r in reports)
    assert all(r.reported_s > r.occurred_s for r in reports)
    assert len({r.report_id for r in reports}) == len(reports)
    assert sum(r.action == "failed" for r in reports) == len(p.car)
    told = {r.report_id: r.reported_s for r in reports}
    for report_id, at in told.items():
        if report_id.endswith("-repaired"):
            assert told[report_id.removesuffix("repaired") + "failed"] < at
    with pytest.raises(IndexError):
        p.report(len(reports))


def test_a_split_of_the_fleet_has_the_same_incidents() -> None:
    """Cars 0..999 in one process, or 0..299 and 300..999 in two: the same truth."""
    whole = plan(1000, share=0.3).truth(epoch_ms=5)
    parts = plan(300, share=0.3).truth(epoch_ms=5) + plan(700, first=300, share=0.3).truth(epoch_ms=5)
    assert parts == whole


def test_a_plan_without_prone_cars_is_empty() -> None:
    """A share of 0 gives no incident, no report, no severity."""
    p = plan(50, share=0.0)
    severity = np.zeros((ROWS, 50), np.float32)
    p.wear_down(severity, 0, slice(0, 50), 1e9)
    assert p.truth(0) == []
    assert not severity.any()


def test_severities_reach_the_rows_of_their_component() -> None:
    """Every car with an active incident has exactly one row above 0, and only cars of the group change."""
    p = plan(500, share=0.5)
    now_s = float(np.median(p.failed_s))
    severity = np.zeros((ROWS, 500), np.float32)
    p.wear_down(severity, 0, slice(100, 400), now_s)
    active = (p.severity(now_s) > 0) & (p.car >= 100) & (p.car < 400)
    assert set(np.flatnonzero(severity.any(axis=0))) == set(p.car[active])
    assert ((severity > 0).sum(axis=0) <= 1).all()
