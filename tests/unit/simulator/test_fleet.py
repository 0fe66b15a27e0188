"""The fleet as a whole: plausible values, independence of the split, faults only on their cars."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from contract.telemetry import SIGNALS
from simulator import fleet as module
from simulator import trips
from simulator.fleet import Fleet
from simulator.scenario import Scenario

COLUMN = {name: i for i, name in enumerate(SIGNALS)}
SOUND = Scenario(faulty_share=0.0)

# Generous bounds for a healthy battery-electric car in a temperate climate.
BOUNDS = {
    "coolant_temp": (-10, 95),
    "intake_air_temp": (-25, 60),
    "intake_air_flow_speed": (0, 450),
    "battery_percentage": (0, 100),
    "battery_voltage": (250, 430),
    "current_draw": (-400, 800),
    "speed": (0, 60),
    "engine_vibration_amplitude": (0, 12_000),
    "throttle_pos": (0, 1),
    "tire_pressure_1_1": (25, 60),
    "accelerometer_1_1_value": (0, 25),
    "control_unit_firmware": (1000, 2000),
}


def drive(fleet: Fleet, steps: int, dt_s: float = 1.0) -> np.ndarray:
    """(steps, cars, K)"""
    everyone = slice(0, fleet.cars)
    return np.stack([fleet.step(everyone, i * dt_s, dt_s) for i in range(1, steps + 1)])


@dataclass(frozen=True)
class Minutes:
    """150 s of 400 healthy cars, sampled every second."""

    readings: np.ndarray  # (150, cars, signals)
    on_road: np.ndarray  # (cars,) whether the car was neither parked nor charged
    lost_as: np.ndarray  # (cars,) charge lost by the battery in ampere seconds


@pytest.fixture(scope="module")
def healthy() -> Minutes:
    fleet = Fleet(seed=8, first=0, cars=400, scenario=SOUND)
    driving = fleet._trips.road != trips.CHARGING
    before, parked_s = fleet._state.charge.copy(), fleet._trips.parked_s.copy()
    readings = drive(fleet, steps=150)
    on_road = driving & (fleet._trips.road != trips.CHARGING) & (fleet._trips.parked_s == parked_s)
    return Minutes(readings, on_road, (before - fleet._state.charge) * fleet.parameters.capacity_as)


def test_every_signal_stays_within_what_a_car_can_show(healthy: Minutes) -> None:
    """All signals of 400 cars are finite and stay within physical bounds for minutes."""
    assert np.isfinite(healthy.readings).all()
    for name, (low, high) in BOUNDS.items():
        values = healthy.readings[..., COLUMN[name]]
        assert low <= values.min(), name
        assert values.max() <= high, name


def test_energy_is_that_of_an_electric_car(healthy: Minutes) -> None:
    """Driving takes 10 to 30 kWh per 100 km, and the current matches the loss of charge."""
    speed, volt, ampere = (
        healthy.readings[:, healthy.on_road, COLUMN[name]]
        for name in ("speed", "battery_voltage", "current_draw")
    )
    kwh = (volt * ampere).sum() / 3.6e6
    assert 10 < kwh / (speed.sum() / 100_000) < 30
    assert ampere.sum() == pytest.approx(healthy.lost_as[healthy.on_road].sum(), rel=0.05)


def test_the_first_minutes_are_like_later_ones() -> None:
    """Cars begin warm and on the road: the mean of every signal hardly changes within two hours."""
    fleet = Fleet(seed=5, first=0, cars=400, scenario=SOUND)
    readings = drive(fleet, steps=120, dt_s=60.0)
    first, last = readings[:3].reshape(-1, len(SIGNALS)), readings[-30:].reshape(-1, len(SIGNALS))
    shift = np.abs(first.mean(axis=0) - last.mean(axis=0)) / first.std(axis=0).clip(1e-6)
    assert dict(zip(SIGNALS, shift.round(2), strict=True)) == pytest.approx(
        dict.fromkeys(SIGNALS, 0.0), abs=0.3
    )


def test_a_car_sampled_every_ten_seconds_is_like_one_sampled_every_second(healthy: Minutes) -> None:
    """Steps are exact: every signal has the same mean and standard deviation at 1 s and at 10 s."""
    tens = drive(Fleet(seed=8, first=0, cars=400, scenario=SOUND), steps=15, dt_s=10.0)
    (mean_1, spread_1), (mean_10, spread_10) = (
        (readings.mean(axis=(0, 1)), readings.std(axis=(0, 1))) for readings in (healthy.readings, tens)
    )
    assert dict(zip(SIGNALS, (mean_10 - mean_1) / spread_1, strict=True)) == pytest.approx(
        dict.fromkeys(SIGNALS, 0.0), abs=0.1
    )
    assert dict(zip(SIGNALS, spread_10 / spread_1, strict=True)) == pytest.approx(
        dict.fromkeys(SIGNALS, 1.0), abs=0.1
    )


def test_a_car_is_the_same_however_the_fleet_is_split() -> None:
    """Three processes of 40, 2 and 58 cars, stepped in groups, give the bytes of one process of 100.

    The fleet has faults of all kinds, and firmware, weather, models, sensors and gateways change.
    """
    options: Any = {
        "seed": 11,
        "scenario": Scenario(
            faulty_share=0.9,
            ageing=2000,
            firmware_share=0.5,
            firmware_over_s=30,
            cold_k=9,
            cold_over_s=10,
            cold_for_s=9,
            new_model_from=41,
            recalibrated=0.5,
            recalibrated_at_s=20,
            gateway_zeros=0.3,
            gateway_zeros_at_s=30,
        ),
    }
    whole = Fleet(**options, first=0, cars=100)
    splits = [Fleet(**options, first=first, cars=n) for first, n in ((0, 40), (40, 2), (42, 58))]
    for now_s in range(2, 40, 2):
        expected = whole.step(slice(0, 100), now_s, 2.0)
        parts = []
        for split in splits:
            half = split.cars // 2
            parts += [split.step(g, now_s, 2.0) for g in (slice(0, half), slice(half, split.cars))]
        np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_large_groups_are_stepped_in_chunks_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group over the chunk size equals the same cars stepped one half after the other."""
    monkeypatch.setattr(module, "_CHUNK_CARS", 16)
    one, two = (Fleet(seed=2, first=0, cars=25, scenario=SOUND) for _ in range(2))
    halves = [two.step(slice(0, 13), 1.0, 1.0), two.step(slice(13, 25), 1.0, 1.0)]
    np.testing.assert_array_equal(one.step(slice(0, 25), 1.0, 1.0), np.concatenate(halves))


def test_another_seed_is_another_fleet() -> None:
    """Another seed gives other readings."""
    one, two = (
        Fleet(seed=seed, first=0, cars=5, scenario=SOUND).step(slice(0, 5), 1.0, 1.0) for seed in (1, 2)
    )
    assert not np.array_equal(one, two)


def test_cars_differ_by_more_than_the_noise_of_their_sensors() -> None:
    """The pressures of the same tyre differ between cars by more than 1 psi."""
    pressures = Fleet(seed=1, first=0, cars=300, scenario=SOUND).step(slice(0, 300), 1.0, 1.0)[:, 9]
    assert pressures.std() > 1.0


def test_ageing_never_touches_the_driving() -> None:
    """A fleet that ages a thousand times faster has the same roads and speeds, bit for bit.

    Healthy cars have the same readings of all signals.
    """
    slow, fast = (
        Fleet(seed=4, first=0, cars=300, scenario=Scenario(faulty_share=0.5, ageing=a)) for a in (1, 1000)
    )
    before, after = drive(slow, 30), drive(fast, 30)
    sound = ~np.isin(np.arange(300), slow.plan.car)
    np.testing.assert_array_equal(before[:, sound], after[:, sound])
    np.testing.assert_array_equal(before[..., COLUMN["speed"]], after[..., COLUMN["speed"]])
    assert not np.array_equal(before, after)
