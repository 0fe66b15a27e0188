"""Driving: exact steps, trips like published cycles, parking."""

import numpy as np
import pytest

from simulator import driving, trips
from simulator.fleet import Fleet
from simulator.scenario import Scenario

CARS, STEPS, DT_S = 800, 150, 10.0


class Drive:
    """Readings and state of some cars over 25 minutes."""

    def __init__(self) -> None:
        self.fleet = Fleet(seed=6, first=0, cars=CARS, scenario=Scenario(faulty_share=0.0))
        self.readings, self.road, self.parked_s, self.charge = [], [], [], []
        for step in range(1, STEPS + 1):
            self.readings.append(self.fleet.step(slice(0, CARS), step * DT_S, DT_S))
            self.road.append(self.fleet._trips.road.copy())
            self.parked_s.append(self.fleet._trips.parked_s.copy())
            self.charge.append(self.fleet._state.charge.copy())

    def signal(self, column: int) -> np.ndarray:
        """(steps, cars)"""
        return np.stack(self.readings)[..., column]


@pytest.fixture(scope="module")
def half_hour() -> Drive:
    return Drive()


@pytest.mark.parametrize(
    ("road", "kmh", "standing"),
    [(trips.CITY, 27.7, 0.19), (trips.RURAL, 57.0, 0.05), (trips.HIGHWAY, 96.9, 0.02)],
    ids=["WLTC low and medium", "WLTC high and Artemis rural", "Artemis motorway"],
)
def test_trips_are_like_published_cycles(half_hour: Drive, road: int, kmh: float, standing: float) -> None:
    """Mean speed, stops included, within a tenth; share of standing time within 4 points."""
    speed = half_hour.signal(6)[np.stack(half_hour.road) == road]
    assert 3.6 * speed.mean() == pytest.approx(kmh, rel=0.1)
    assert (speed < 0.5).mean() == pytest.approx(standing, abs=0.04)


def test_a_step_of_ten_seconds_is_ten_of_one() -> None:
    """Following a target speed is exact: the final speed does not depend on the length of the steps."""
    speed = np.array([0, 5, 30, 20, 12], np.float32)
    target = np.array([14, 0, 31, 0, 12], np.float32)
    comfort = np.full(5, 1.5, np.float32)
    once, acceleration = driving.follow(speed, target, comfort, np.full(5, 10, np.float32))
    for _ in range(10):
        speed, last = driving.follow(speed, target, comfort, np.ones(5, np.float32))
    np.testing.assert_allclose(speed, once, atol=0.31)  # a car slower than that stands
    np.testing.assert_allclose(last, acceleration, atol=0.11)


@pytest.mark.parametrize("dt_s", [0.1, 1.0, 10.0, 100.0])
def test_the_foot_sways_alike_at_any_step(dt_s: float) -> None:
    """The standard deviations of the foot's acceleration and speed do not depend on the step."""
    rng = np.random.default_rng(1)
    foot = rng.standard_normal(20_000) * driving.FOOT_MPS2
    both = driving.FOOT_MPS2**2 / (1 / driving.FOOT_S + 1 / driving.REACTION_S)
    rest = np.sqrt(driving.REACTION_S * both - (both / driving.FOOT_MPS2) ** 2)
    sway = foot * both / driving.FOOT_MPS2**2 + rest * rng.standard_normal(20_000)
    for _ in range(5):
        foot, sway = driving.sway(foot, sway, rng.standard_normal((2, 20_000)), dt_s)
    assert foot.std() == pytest.approx(driving.FOOT_MPS2, rel=0.03)
    assert sway.std() == pytest.approx(np.sqrt(driving.REACTION_S * both), rel=0.03)
    assert np.mean(foot * sway) == pytest.approx(both, rel=0.05)


def test_a_parked_car_sets_off_cold_and_later_in_the_day(half_hour: Drive) -> None:
    """After hours of parking the motor has the temperature of the air, and the car stands."""
    parked_s = np.diff(np.stack(half_hour.parked_s), axis=0)
    step, car = np.nonzero(parked_s > 6 * 3600)
    assert len(step) > 50
    coolant, air, speed = (half_hour.signal(column)[1:][step, car] for column in (0, 1, 6))
    assert np.abs(coolant - air).mean() < 3
    assert half_hour.signal(0)[:-1][step, car].mean() - coolant.mean() > 10
    assert speed.mean() < 0.5 * half_hour.signal(6).mean()
    times_s = parked_s[parked_s > 0]
    assert 6 < times_s.mean() / 3600 < 11  # parked 23 hours of 24


def test_a_wallbox_charges_the_parked_car(half_hour: Drive) -> None:
    """Cars with a wallbox have a fuller battery after a night; the others do not."""
    parked_s = np.diff(np.stack(half_hour.parked_s), axis=0) > 6 * 3600
    gained = np.diff(np.stack(half_hour.charge), axis=0)
    wallbox = half_hour.fleet.parameters.wallbox > 0
    low = np.stack(half_hour.charge)[:-1] < 0.5
    assert gained[parked_s & low & wallbox].min() > 0.1
    assert gained[parked_s & ~wallbox].max() < 0.01


def test_winter_is_colder_than_summer() -> None:
    """Between the middle of January and of July the intake air differs by 18 K, as in Central Europe."""
    winter, summer = (
        Fleet(seed=1, first=0, cars=300, scenario=Scenario(first_day=day)) for day in (15.0, 198.0)
    )
    cold, warm = (fleet.step(slice(0, 300), 1.0, 1.0)[:, 1].mean() for fleet in (winter, summer))
    assert warm - cold == pytest.approx(18, abs=2)
