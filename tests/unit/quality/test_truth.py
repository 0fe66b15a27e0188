"""The truth about faults, as the scorecard shows it."""

from quality.ground import severities
from simulator import chance
from simulator.faults import INCIDENTS_PER_CAR, KINDS, FaultPlan
from simulator.scenario import Scenario


def plan(first: int = 0, share: float = 0.5) -> FaultPlan:
    return FaultPlan(chance.keys(1, first, 2000), first, Scenario(faulty_share=share, ageing=10.0))


def test_severities_are_in_physical_units() -> None:
    """A slow puncture loses 1.3 to 4 psi an hour at any ageing; every kind has its rows."""
    plans = [plan(), plan(first=2000)]
    rows = severities(plans)
    assert {row["kind"] for row in rows} == {kind.name for kind in KINDS}
    prone_cars = sum(len(set(each.car.tolist())) for each in plans)
    assert sum(row["incidents"] for row in rows) == INCIDENTS_PER_CAR * prone_cars
    puncture = next(row for row in rows if row["kind"] == "slow_puncture")
    assert (puncture["at_failure"], puncture["unit"]) == (16.0, "psi")
    assert 1.3 < puncture["per_hour"]["p10"] < puncture["per_hour"]["p50"] < puncture["per_hour"]["p90"] < 4
    assert 4 < puncture["hours_to_failure"]["p10"] < puncture["hours_to_failure"]["p90"] < 12


def test_a_plan_without_incidents_has_no_severities() -> None:
    """A fleet of healthy cars gives no rows."""
    assert severities([plan(share=0.0)]) == []
