"""Changes that are no faults: which cars they affect, when, and how the signals change."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from simulator.cars import FIRMWARE_NEXT, MODELS, models
from simulator.chance import keys
from simulator.fleet import Fleet
from simulator.scenario import NEVER, Scenario

CARS, SOUND = 200, Scenario(faulty_share=0.0)
COOLANT, AIR, FLOW, VOLTAGE, SPEED, FIRMWARE = 0, 1, 2, 4, 6, 17


@cache
def drive(scenario: Scenario, steps: int = 60, dt_s: float = 10.0) -> np.ndarray:
    """(steps, cars, K)"""
    fleet = Fleet(seed=8, first=0, cars=CARS, scenario=scenario)
    return np.stack([fleet.step(slice(0, CARS), i * dt_s, dt_s) for i in range(1, steps + 1)])


def test_a_new_firmware_reaches_its_share_of_the_cars_one_after_the_other() -> None:
    """None before it begins, half of the share half-way, all of it at the end; no car goes back."""
    seen = drive(replace(SOUND, firmware_share=0.6, firmware_at_s=100, firmware_over_s=400))
    share = (seen[..., FIRMWARE] == FIRMWARE_NEXT).mean(axis=1)
    assert not share[:10].any()
    assert share[29] == pytest.approx(0.3, abs=0.06)
    assert share[50:] == pytest.approx(0.6, abs=0.06)
    assert (np.diff(share) >= 0).all()


def test_the_new_firmware_changes_what_it_controls_and_never_the_driving() -> None:
    """More air at a standstill, other coolant temperatures; the speeds are bit-identical."""
    before, after = drive(SOUND), drive(replace(SOUND, firmware_share=1.0))
    stands = before[..., SPEED] == 0
    assert (after - before)[stands, FLOW].mean() > 5
    assert (after - before)[..., COOLANT].mean() < -0.3
    np.testing.assert_array_equal(before[..., SPEED], after[..., SPEED])


def test_a_cold_snap_comes_over_hours_and_goes() -> None:
    """No drop before, half of it half-way, all of it while it lasts, none afterwards."""
    snap = replace(SOUND, cold_k=12, cold_at_s=1000, cold_over_s=200, cold_for_s=300)
    assert [snap.colder_k(s) for s in (0, 1000, 1100, 1200, 1500, 1600, 1700, 9999)] == [
        0, 0, 6, 12, 12, 6, 0, 0,
    ]  # fmt: skip
    warm, cold = drive(SOUND), drive(replace(snap, cold_at_s=-1000, cold_for_s=9e9))
    assert (warm - cold)[..., AIR].mean() == pytest.approx(12, abs=1)
    np.testing.assert_array_equal(warm[..., SPEED], cold[..., SPEED])


def test_a_new_model_begins_with_its_first_car() -> None:
    """Cars before it are unchanged; cars from it on have the battery of the new model."""
    old, new = drive(SOUND)[:9], drive(replace(SOUND, new_model_from=120))[:9]
    np.testing.assert_array_equal(old[:, :120], new[:, :120])
    assert (new - old)[:, 120:, VOLTAGE].mean() > 30
    car_keys = keys(8, 0, CARS)
    assert (models(car_keys, 0, 120)[120:] == len(MODELS) - 1).all()
    assert models(car_keys[150:], 150, 120).min() == len(MODELS) - 1
    assert models(car_keys, 0, NEVER).max() < len(MODELS) - 1
