"""The fault plan: which cars, when, how faults grow, and what the workshop reports."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from simulator import chance
from simulator.faults import FIRST_ROW, HOUR_S, INCIDENTS_PER_CAR, KINDS, ActiveFaults, FaultPlan
from simulator.scenario import Scenario


def plan(cars: int = 4000, first: int = 0, seed: int = 1, share: float = 0.05, **options: float) -> FaultPlan:
    return FaultPlan(chance.keys(seed, first, cars), first, Scenario(faulty_share=share, **options))


def test_the_share_of_prone_cars_is_the_configured_one() -> None:
    """About 5 % of 20 000 cars have incidents, each the same number of them."""
    cars, counts = np.unique(plan(20_000, share=0.05).car, return_counts=True)
    assert len(cars) / 20_000 == pytest.approx(0.05, abs=0.005)
    assert set(counts) == {INCIDENTS_PER_CAR}


def test_all_components_occur() -> None:
    """Every kind of fault and every component occurs, with the names that the detector uses."""
    p = plan()
    names = {(truth["kind"], truth["component"]) for truth in p.truth(0)}
    assert names == {(kind.name, component) for kind in KINDS for component in kind.components}
    assert names >= {
        ("coolant_leak", "coolant_circuit"),
        ("clogged_air_filter", "air_filter"),
        ("bearing_wear", "wheel_bearing_2_1"),
        ("slow_puncture", "tire_1_2"),
        ("battery_ageing", "battery"),
        ("brake_drag", "brake_2_2"),
        ("sensor_stuck", "coolant_temp_sensor"),
        ("sensor_drift", "battery_voltage_sensor"),
    }


def test_alerts_can_name_every_component() -> None:
    """`[components]` of signals.toml has each component that a fault can have, and no other."""
    settings = Path(__file__).parents[3] / "contract" / "schemas" / "signals.toml"
    named = tomllib.loads(settings.read_text(encoding="utf-8"))["components"]
    assert set(named) == {component for kind in KINDS for component in kind.components}


def test_severity_grows_from_onset_to_failure_and_ends_with_the_repair() -> None:
    """0 before the onset, growing until the failure, 1 until the repair, 0 after it."""
    p = plan()
    for progress in (0.0, 0.25, 0.5, 0.99):
        i = slice(0, 1)
        at = float(p.onset_s[0] + progress * (p.failed_s[0] - p.onset_s[0]))
        expected = progress ** KINDS[p.kind[0]].shape
        assert p.severity(at, i)[0] == pytest.approx(expected, abs=1e-3)
    assert p.severity(float(p.onset_s[0]) - 1, slice(0, 1))[0] == 0
    assert p.severity(float(p.failed_s[0]) + 1, slice(0, 1))[0] == 1
    assert p.severity(float(p.repaired_s[0]), slice(0, 1))[0] == 0


def test_a_car_has_one_fault_at_a_time() -> None:
    """The next incident of a car begins only after the repair of the previous one."""
    p = plan()
    same_car = p.car[1:] == p.car[:-1]
    assert (p.onset_s[1:][same_car] >= p.repaired_s[:-1][same_car]).all()


def test_ageing_divides_the_durations_of_wear_and_changes_nothing_else() -> None:
    """With ten times the ageing the same cars and components fail, at a tenth of the time."""
    slow, fast = plan(ageing=1.0), plan(ageing=10.0)
    np.testing.assert_array_equal(slow.row, fast.row)
    np.testing.assert_allclose(slow.repaired_s, 10 * fast.repaired_s)


def test_no_fault_begins_during_healthy_s() -> None:
    """healthy_s is in seconds of the run and does not depend on the ageing."""
    assert plan(ageing=1000.0, healthy_s=60.0).onset_s.min() >= 60.0


def test_growth_takes_the_hours_of_its_kind() -> None:
    """The time from onset to failure of every incident is within the bounds of its kind."""
    p = plan()
    hours = (p.failed_s - p.onset_s) / HOUR_S
    for i, kind in enumerate(KINDS):
        of_kind = hours[p.kind == i]
        assert kind.hours[0] <= of_kind.min()
        assert of_kind.max() <= kind.hours[1]


def test_reports_come_in_order_and_after_the_event() -> None:
    """Each incident is reported as failed, then as repaired, some time after it occurred; ids are unique."""
    p = plan(600, share=0.2)
    reports = [p.report(i, epoch_ms=0) for i in range(2 * len(p.car))]
    assert [r["reported_at"] for r in reports] == sorted(r["reported_at"] for r in reports)
    assert all(r["reported_at"] > r["occurred_at"] for r in reports)
    assert len({r["report_id"] for r in reports}) == len(reports)
    assert sum(r["action"] == "failed" for r in reports) == len(p.car)
    reported_at = {r["report_id"]: r["reported_at"] for r in reports}
    for report_id, at in reported_at.items():
        if report_id.endswith("-repaired"):
            assert reported_at[report_id.removesuffix("repaired") + "failed"] < at
    with pytest.raises(IndexError):
        p.report(len(reports), epoch_ms=0)
    assert p.reported_s[len(reports)] == np.inf


def test_a_split_of_the_fleet_has_the_same_incidents() -> None:
    """Cars 0..999 in one process and 0..299 plus 300..999 in two have the same truth."""
    whole = plan(1000, share=0.3).truth(epoch_ms=5)
    parts = plan(300, share=0.3).truth(epoch_ms=5) + plan(700, first=300, share=0.3).truth(epoch_ms=5)
    assert parts == whole


def test_a_plan_without_prone_cars_is_empty() -> None:
    """A share of 0 gives no incidents, no reports and no active faults."""
    p = plan(50, share=0.0)
    assert p.truth(0) == []
    assert not p.active(slice(0, 50), 1e9).severity.size


def test_the_active_faults_of_a_group_are_those_of_its_cars() -> None:
    """At most one incident per car, with the index of the car in the group, its row and severity."""
    p = plan(500, first=1000, share=0.5)
    now_s = float(np.median(p.failed_s))
    faults = p.active(slice(100, 400), now_s)
    active = np.flatnonzero((p.severity(now_s) > 0) & (p.car >= 1100) & (p.car < 1400))
    np.testing.assert_array_equal(faults.incident, active)
    np.testing.assert_array_equal(faults.car + 1100, p.car[active])
    np.testing.assert_array_equal(faults.row, p.row[active])
    np.testing.assert_array_equal(faults.severity, p.severity(now_s)[active])
    assert len(set(faults.car.tolist())) == len(faults.car)


def test_the_severity_of_a_loose_contact_is_its_share_of_time_without_contact() -> None:
    """Over many minutes a sensor with severity 0.3 has no contact in 30 % of them, one with 1 in all."""
    p = plan(300, share=1.0)
    first = np.arange(300) * INCIDENTS_PER_CAR
    stuck = np.full(300, FIRST_ROW["sensor_stuck"])
    for severity in (0.0, 0.3, 1.0):
        faults = ActiveFaults(first, np.arange(300), stuck, np.full(300, severity, np.float32))
        open_ = [p.out_of_contact(faults, 60.0 * minute).mean() for minute in range(40)]
        assert np.mean(open_) == pytest.approx(severity, abs=0.02)


def test_the_documented_faults_are_these() -> None:
    """The table in docs/architecture.md names every kind with its components, sizes and hours."""
    text = (Path(__file__).parents[3] / "docs" / "architecture.md").read_text(encoding="utf-8")
    for kind in KINDS:
        components = {re.sub(r"_\d_\d$", "_<wheel>", name) for name in kind.components}
        if all(name.endswith("_sensor") for name in components):
            components = {"<signal>_sensor"}
        sizes = ", ".join(dict.fromkeys(f"{size:g} {unit}" for size, unit in kind.components.values()))
        low, high = kind.hours
        row = f"| `{kind.name}` | `{components.pop()}` | {sizes} | {low}\u2013{high} |"
        assert row in text, row
