"""Physical bounds: zeros and wrong units are outside, a fleet in any season is not."""

import numpy as np
import pytest

from contract.telemetry import SIGNALS
from simulator.fleet import Fleet
from simulator.scenario import Scenario
from trainer.judge.bounds import outside

VOLTAGE, SPEED = SIGNALS.index("battery_voltage"), SIGNALS.index("speed")


def driven(**scenario: float) -> np.ndarray:
    """Signals (n, K) of 100 cars over 100 minutes."""
    cars = Fleet(seed=1, first=0, cars=100, scenario=Scenario(**{"faulty_share": 0.0} | scenario))  # type: ignore[arg-type]
    return np.concatenate([cars.step(slice(0, 100), 60.0 * minute, 60.0) for minute in range(1, 101)])


@pytest.mark.parametrize(
    "scenario",
    [
        {"first_day": 15.0},
        {"first_day": 198.0},
        {"new_model_from": 0},
        {"faulty_share": 1.0, "ageing": 50.0},
    ],
)
def test_sound_and_worn_cars_are_within_the_bounds(scenario: dict[str, float]) -> None:
    """Winter, summer, another vehicle model, failing parts: hardly a value is outside."""
    assert max(outside(driven(**scenario)).values(), default=0) < 0.001


def test_zeros_and_km_h_are_outside() -> None:
    """By name, with their share of the values that are there."""
    signals = driven()
    signals[:, VOLTAGE] = 0
    signals[: len(signals) // 2, VOLTAGE] = np.nan
    signals[:, SPEED] *= 3.6
    signals[:10, 0] = np.inf
    shares = outside(signals)
    assert shares["battery_voltage"] == 1
    assert 0.1 < shares["speed"] < 0.6
    assert shares["coolant_temp"] == 10 / len(signals)
    assert set(shares) == {"battery_voltage", "speed", "coolant_temp"}
