"""The effect of each fault on the signals: right sign and size, at the right wheel, and nowhere else."""

from collections.abc import Iterator
from copy import deepcopy
from functools import cache

import numpy as np
import pytest

from contract.telemetry import SIGNALS
from simulator.faults import DRIFTS, FIRST_ROW, KINDS, ActiveFaults
from simulator.fleet import Fleet
from simulator.scenario import Scenario
from simulator.trips import CHARGING

COLUMN = {name: i for i, name in enumerate(SIGNALS)}
CARS, STEPS, DT_S = 120, 20, 10.0
SENSORS = tuple(DRIFTS)

# What a failed component adds to the mean of a signal in its unit (from, to), estimated by hand.
EFFECTS = {
    "coolant_leak": {
        "coolant_temp": (2, 30),
        "motor_temp": (4, 60),
    },  # a fifth of the radiator's conductance and of the flow
    "clogged_air_filter": {"intake_air_flow_speed": (-110, -50)},  # 65 % of about 130 g/s
    "bearing_wear": {"accelerometer_1_1_value": (0.3, 3), "engine_vibration_amplitude": (600, 2500)},
    "slow_puncture": {"tire_pressure_1_1": (-18, -15)},
    # 0.075 ohm more times the mean current of 30 to 60 A
    "battery_ageing": {"battery_voltage": (-6, -1)},
    # 310 N at a mean of 14 m/s are 4.3 kW, some 13 A at 350 V
    "brake_drag": {"current_draw": (6, 22), "throttle_pos": (0.005, 0.1), "tire_pressure_1_1": (0.1, 2.5)},
}
# Prefixes of the signals that a fault may change; all others must stay bit-identical.
TOUCHED = {
    "coolant_leak": ("coolant_temp", "intake_air", "motor_temp"),
    "clogged_air_filter": ("coolant_temp", "intake_air", "motor_temp"),
    "bearing_wear": ("accelerometer_1_1", "engine_vibration"),
    "slow_puncture": ("tire_pressure_1_1",),
    "battery_ageing": ("battery", "current_draw"),
    "brake_drag": ("battery", "current_draw", "throttle_pos", "engine_vibration", "coolant_temp",
                   "intake_air", "motor_temp", "tire_pressure_1_1"),
}  # fmt: skip


class Everyone:
    """A fault plan in which the same component of every car has the same severity."""

    upwards = np.ones(CARS, bool)

    def __init__(self, row: int, severity: float) -> None:
        self.row, self.severity = row, severity

    def active(self, group: slice, _now_s: float) -> ActiveFaults:
        cars = group.stop - group.start
        every = np.arange(group.start, group.stop)
        return ActiveFaults(
            every, every - group.start, np.full(cars, self.row), np.full(cars, self.severity, np.float32)
        )

    def out_of_contact(self, faults: ActiveFaults, _now_s: float) -> np.ndarray:
        return np.full(len(faults.car), self.severity == 1)


@cache
def fleet() -> Fleet:
    """A fleet without faults, warmed up; the tests drive copies of it."""
    return Fleet(seed=4, first=0, cars=CARS, scenario=Scenario(faulty_share=0.0))


@cache
def drive(damage: Everyone | None = None) -> np.ndarray:
    """(steps, cars, K) of the cars that do not charge soon: with a worn battery they would do so earlier."""
    driven = deepcopy(fleet())
    if damage:
        driven.plan = damage  # type: ignore[assignment]
        driven._held = np.full(CARS, np.nan, np.float32)
    far = (driven._state.charge > 0.45) & (driven._trips.road != CHARGING)
    seen = np.stack([driven.step(slice(0, CARS), i * DT_S, DT_S) for i in range(1, STEPS + 1)])
    return seen[:, far]


@cache
def failed_by(kind: str) -> Everyone:
    """The first component of this kind has failed in every car."""
    return Everyone(FIRST_ROW[kind], 1.0)


@pytest.fixture(scope="module")
def sound() -> Iterator[np.ndarray]:
    return drive()


@pytest.mark.parametrize("kind", EFFECTS)
def test_a_fault_changes_its_signals_by_the_expected_amount_and_no_others(
    kind: str, sound: np.ndarray
) -> None:
    """A car with one failed component differs from its healthy twin in that component's signals alone."""
    failed = drive(failed_by(kind))
    shift = (failed - sound).mean(axis=(0, 1))
    for name, (low, high) in EFFECTS[kind].items():
        assert low < shift[COLUMN[name]] < high, (name, shift[COLUMN[name]])
    assert failed[..., COLUMN["coolant_temp"]].max() < 123  # the boiling point plus the error of the sensor
    for i, signal in enumerate(SIGNALS):
        if not signal.startswith(TOUCHED[kind]):
            np.testing.assert_array_equal(failed[..., i], sound[..., i], err_msg=signal)


@pytest.mark.parametrize("kind", EFFECTS)
def test_half_of_the_damage_does_less_than_all_of_it(kind: str, sound: np.ndarray) -> None:
    """Effects grow with the severity instead of appearing at once."""
    half = drive(Everyone(FIRST_ROW[kind], 0.5))
    failed = drive(failed_by(kind))
    for name in EFFECTS[kind]:
        some, all_ = ((seen - sound)[..., COLUMN[name]].mean() for seen in (half, failed))
        assert 0.02 < some / all_ < 0.9, name


def test_damage_at_a_wheel_shows_at_that_wheel(sound: np.ndarray) -> None:
    """The third wheel of four: rear left."""
    failed = drive(Everyone(FIRST_ROW["slow_puncture"] + 2, 1.0))
    assert [s for i, s in enumerate(SIGNALS) if not np.array_equal(failed[..., i], sound[..., i])] == [
        "tire_pressure_2_1"
    ]


@pytest.mark.parametrize("part", range(len(SENSORS)), ids=SENSORS)
def test_a_drifting_sensor_changes_its_reading_and_not_the_car(part: int, sound: np.ndarray) -> None:
    """Severity 0.5 gives half of the error in DRIFTS; no other signal changes."""
    drifted = drive(Everyone(FIRST_ROW["sensor_drift"] + part, 0.5))
    column = COLUMN[SENSORS[part]]
    off = (drifted - sound)[..., column]
    assert off.mean() == pytest.approx(0.5 * DRIFTS[SENSORS[part]][0], rel=0.05)
    np.testing.assert_array_equal(np.delete(drifted, column, 2), np.delete(sound, column, 2))


@pytest.mark.parametrize("part", range(len(SENSORS)), ids=SENSORS)
def test_a_stuck_sensor_repeats_its_last_value_and_the_car_drives_on(part: int, sound: np.ndarray) -> None:
    """Without contact from the second sample on, the first reading repeats; no other signal changes."""
    stuck = drive(Everyone(FIRST_ROW["sensor_stuck"] + part, 1.0))
    column = COLUMN[SENSORS[part]]
    assert (stuck[..., column] == sound[0, :, column]).all()
    np.testing.assert_array_equal(np.delete(stuck, column, 2), np.delete(sound, column, 2))


def test_a_sensor_in_contact_again_reads_the_true_value(sound: np.ndarray) -> None:
    """The reading that was frozen during an interruption is forgotten after it."""
    loose = Everyone(FIRST_ROW["sensor_stuck"], 0.5)
    loose.out_of_contact = lambda faults, now_s: np.full(len(faults.car), now_s % 60 >= 30)  # type: ignore[method-assign]
    seen, column = drive(loose), COLUMN[SENSORS[0]]
    lost = np.arange(1, STEPS + 1) * DT_S % 60 >= 30
    np.testing.assert_array_equal(seen[~lost], sound[~lost])
    assert (seen[3][:, column] == sound[1][:, column]).all()


def test_every_kind_of_fault_is_covered_here() -> None:
    """A new kind of fault needs its entry in EFFECTS."""
    assert {kind.name for kind in KINDS} == {*EFFECTS, "sensor_stuck", "sensor_drift"}
