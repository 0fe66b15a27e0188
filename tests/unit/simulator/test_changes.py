"""Changes that are no faults: which cars they affect, when, and how the signals change."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from contract.telemetry import SIGNALS
from simulator.cars import FIRMWARE_NEXT, MODELS, models
from simulator.chance import keys
from simulator.fleet import Fleet
from simulator.scenario import NEVER, Scenario

CARS, SOUND = 200, Scenario(faulty_share=0.0)
COOLANT, AIR, FLOW, VOLTAGE, SPEED, FIRMWARE = 0, 1, 2, 4, 6, 17
OTHERS = np.arange(len(SIGNALS)) != VOLTAGE


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


def test_a_recalibrated_sensor_reads_more_for_ever_and_nothing_else_changes() -> None:
    """A fifth of the cars, from one second on: 1 % more voltage; all else is as before."""
    share = replace(SOUND, recalibrated=0.2, recalibrated_at_s=100)
    before, after = drive(SOUND), drive(share)
    ratio = (after / np.where(before == 0, 1, before))[..., VOLTAGE]
    moved = ratio[9] != 1
    assert moved.mean() == pytest.approx(0.2, abs=0.06)
    assert (ratio[:9] == 1).all()
    assert (ratio[9:, ~moved] == 1).all()
    np.testing.assert_allclose(ratio[9:, moved], 1.01, rtol=1e-3)  # bias and noise of the sensor stay
    assert not (before != after)[..., OTHERS].any()


def test_every_signal_can_be_recalibrated() -> None:
    """Air flow 10 % higher in all cars; the true air, and so the temperatures, are the same."""
    flow = "intake_air_flow_speed"
    more = replace(SOUND, recalibrated=1.0, recalibrated_signal=flow, recalibrated_factor=1.1)
    before, after = drive(SOUND), drive(more)
    flows = before[..., FLOW] > 50
    np.testing.assert_allclose((after[..., FLOW] / before[..., FLOW])[flows], 1.1, atol=0.01)
    np.testing.assert_array_equal(before[..., [COOLANT, AIR, SPEED]], after[..., [COOLANT, AIR, SPEED]])


def test_a_signal_that_no_car_has_cannot_be_recalibrated() -> None:
    """The error names the setting and the signal."""
    with pytest.raises(ValueError, match="--recalibrated-signal 'oil_temp'"):
        Scenario(recalibrated_signal="oil_temp")


def test_broken_gateways_send_zeros_from_a_second_on() -> None:
    """A tenth of the cars send 0 V, not the same as are recalibrated; nothing else changes."""
    before, after = drive(SOUND), drive(replace(SOUND, gateway_zeros=0.1, gateway_zeros_at_s=200))
    zeros = after[..., VOLTAGE] == 0
    assert not zeros[:19].any()
    assert zeros[19].mean() == pytest.approx(0.1, abs=0.05)
    assert (zeros[19:] == zeros[19]).all()
    np.testing.assert_array_equal(before[~zeros], after[~zeros])
    assert not (before != after)[..., OTHERS].any()
    both = drive(replace(SOUND, gateway_zeros=0.5, recalibrated=0.5))[5, :, VOLTAGE]
    moved = both / drive(SOUND)[5, :, VOLTAGE] > 1.005
    assert (both == 0).mean() == pytest.approx(0.5, abs=0.1)
    assert moved.mean() == pytest.approx(0.25, abs=0.08)


def test_neither_is_a_fault() -> None:
    """The truth, the workshop's reports and the times of the faults are those of the unchanged fleet."""
    faulty = Scenario(faulty_share=0.9, ageing=1000)
    changed = replace(faulty, recalibrated=1.0, gateway_zeros=1.0)
    one, two = (Fleet(seed=8, first=0, cars=CARS, scenario=each).plan for each in (faulty, changed))
    assert one.truth(0) == two.truth(0)
