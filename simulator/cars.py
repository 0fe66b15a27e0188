"""What makes a car this car: parameters drawn once from the seed and the car's number.

The cars are battery-electric. Where the telemetry's names speak of an engine, it is the electric motor; the
coolant is that of motor and inverter; the intake air is the cooling air that a duct with a filter and a fan
leads to the radiator.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from simulator import chance
from simulator.chance import F4, F8, U8

# Shares and typical sizes of the three models that the fleet knows: a compact car, a saloon, a van.
MODELS = ("compact", "saloon", "van")
_MODEL_SHARE = np.array([0.45, 0.35, 0.20])
_MASS_KG = np.array([1550.0, 1900.0, 2250.0])
_DRAG_AREA_M2 = np.array([0.62, 0.58, 0.95])
_POWER_MAX_KW = np.array([110.0, 180.0, 120.0])
_CAPACITY_AH = np.array([150.0, 210.0, 200.0])  # of a pack of 96 cells in series: 52 to 74 kWh
_TYRE_PSI = np.array([34.0, 37.0, 42.0])

FIRMWARES = (1000.0, 2000.0)
_FIRMWARE_NEW_SHARE = 0.4

_PURPOSE = 1


@dataclass(frozen=True)
class Cars:
    """Parameters, one entry per car; arrays (n,) float32 unless said otherwise."""

    mass_kg: F4
    drag_area_m2: F4  # drag coefficient times frontal area
    rolling: F4  # rolling resistance over weight
    power_max_w: F4
    force_max_n: F4
    motor_loss: F4  # share of the mechanical power that becomes heat
    comfort_mps2: F4  # how hard the driver accelerates
    haste: F4  # the driver's speed over what is usual on the road
    climate_c: F4  # mean of the day's temperature where the car lives
    swing_c: F4  # half of the difference between day and night
    capacity_as: F4  # of the battery, ampere seconds
    resistance_ohm: F4  # of the battery
    heat_capacity_jpk: F4  # of motor, inverter and coolant
    radiator_wpk: F4  # at the reference air flow with the thermostat open
    opens_at_c: F4  # the thermostat
    duct_m2: F4
    vibration_mv_per_mps: F4
    resonance_mps: F4  # road speed at which the drive train hums
    tyre_psi: F4  # (4, n): filled at 20 °C
    wheel_gain: F4  # (4, n): how strongly a wheel's sensor feels the road
    firmware: F4
    gain: F4  # (18, n): of the sensors
    bias: F4  # (18, n): of the sensors, in the signal's unit

    def __getitem__(self, group: slice) -> "Cars":
        """The same for a part of the cars: views."""
        return Cars(*[getattr(self, name)[..., group] for name in _NAMES])


_NAMES = tuple(field.name for field in fields(Cars))


def car_id(index: int) -> str:
    """The name of a car: car-000042."""
    return f"car-{index:06d}"


def models(keys: U8) -> NDArray[np.intp]:
    """(n,) places in MODELS."""
    place: NDArray[np.intp] = np.searchsorted(
        np.cumsum(_MODEL_SHARE)[:-1], chance.uniforms(keys, _PURPOSE, 1)[0]
    )
    return place


def draw(keys: U8, sensor_gain: F8, sensor_bias: F8) -> Cars:
    """The cars of these keys; sensor_gain and sensor_bias (18,) are the spreads of the sensors' errors."""
    model = models(keys)
    spread = iter(chance.normals(keys, _PURPOSE + 1, 32).clip(-3, 3))
    firmware = np.where(chance.uniforms(keys, _PURPOSE + 2, 1)[0] < _FIRMWARE_NEW_SHARE, *FIRMWARES[::-1])
    mass = _MASS_KG[model] * (1 + 0.04 * next(spread)) + 120 + 60 * next(spread)  # with people and luggage
    drawn: dict[str, F8 | float] = {
        "mass_kg": mass,
        "drag_area_m2": _DRAG_AREA_M2[model] * (1 + 0.04 * next(spread)),
        "rolling": 0.010 * (1 + 0.08 * next(spread)),  # modern car tyres: 0.007 to 0.012 (ISO 28580 classes)
        "power_max_w": 1000 * _POWER_MAX_KW[model] * (1 + 0.02 * next(spread)),
        "force_max_n": mass * (3.8 + 0.2 * next(spread)),
        "motor_loss": 0.10 * (1 + 0.08 * next(spread)),
        "comfort_mps2": 1.5 * np.exp(0.2 * next(spread)),
        "haste": 1 + 0.07 * next(spread),
        "climate_c": 14 + 5 * next(spread),
        "swing_c": 4 + 0.8 * next(spread),
        "capacity_as": 3600 * _CAPACITY_AH[model] * (1 - 0.03 * np.abs(next(spread))),
        "resistance_ohm": 0.075 * (1 + 0.12 * next(spread)),
        "heat_capacity_jpk": 5.0e4 * (1 + 0.08 * next(spread)),  # 7 kg of coolant, 30 kg of aluminium
        "radiator_wpk": 110 * (1 + 0.08 * next(spread)),
        # The new firmware keeps the motor 3 K cooler: a legitimate difference between cars.
        "opens_at_c": 50 + 1.0 * next(spread) - 3.0 * (firmware > FIRMWARES[0]),
        "duct_m2": 0.02 * (1 + 0.06 * next(spread)),
        "vibration_mv_per_mps": 80 * np.exp(0.15 * next(spread)),
        "resonance_mps": 17 + 2 * next(spread),
        "tyre_psi": _TYRE_PSI[model] + 0.8 * np.array([next(spread) for _ in range(4)]),
        "wheel_gain": 1 + 0.08 * np.array([next(spread) for _ in range(4)]),
        "firmware": firmware,
        "gain": 1 + sensor_gain[:, None] * chance.normals(keys, _PURPOSE + 3, 18),
        "bias": sensor_bias[:, None] * chance.normals(keys, _PURPOSE + 4, 18),
    }
    return Cars(**{name: np.asarray(values, np.float32) for name, values in drawn.items()})
