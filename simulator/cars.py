"""Parameters of the individual cars, drawn once from the seed and the number of the car.

The cars are battery-electric. "Engine" in the names of the telemetry means the electric motor, the coolant is
that of motor and inverter, and the intake air is the cooling air that a duct with a filter and a fan leads to
the radiator.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from simulator import chance
from simulator.chance import F4, F8, U8

# Shares and typical values of the three usual models. The last model, the crossover, is new: only cars from
# scenario.Scenario.new_model_from on are crossovers.
MODELS = ("compact", "saloon", "van", "crossover")
_MODEL_SHARE = np.array([0.45, 0.35, 0.20])
_MASS_KG = np.array([1550.0, 1900.0, 2250.0, 2150.0])
_DRAG_AREA_M2 = np.array([0.62, 0.58, 0.95, 0.72])
_POWER_MAX_KW = np.array([110.0, 180.0, 120.0, 240.0])
_CELLS = np.array([96.0, 96.0, 96.0, 108.0])  # in series
_CAPACITY_AH = np.array([150.0, 210.0, 200.0, 230.0])  # 52 to 90 kWh
_DUCT_M2 = np.array([0.020, 0.020, 0.020, 0.026])
_TYRE_PSI = np.array([34.0, 37.0, 42.0, 40.0])

FIRMWARES = (1000.0, 2000.0)
FIRMWARE_NEXT = 3000.0  # rolled out during the run (scenario.Scenario)
_FIRMWARE_NEW_SHARE = 0.4
_WALLBOX_SHARE = 0.6  # of the cars, charged at home
CELL_NOMINAL_V = 3.65

_PURPOSE = 1

DAY_S, YEAR_DAYS = 86_400.0, 365.25
# Central Europe (DWD, 1991-2020): warmest in the middle of July and in the afternoon.
WARMEST_DAY, WARMEST_HOUR = 198.0, 15.5

_SENSORS_MAX = 64  # errors are drawn for this many, so that an added sensor does not change the others


class PerCar:
    """A base of dataclasses of arrays (n,) or (…, n) of n cars."""

    def __getitem__(self, group: slice) -> Self:
        """The values of a group of the cars, as views."""
        kind: Any = type(self)
        part: Self = kind(*[values[..., group] for values in vars(self).values()])
        return part


@dataclass(frozen=True)
class CarParameters(PerCar):
    """Parameters of n cars; arrays (n,) float32 unless another shape is given."""

    mass_kg: F4
    drag_area_m2: F4  # drag coefficient times frontal area
    rolling: F4  # rolling resistance over weight
    power_max_w: F4
    force_max_n: F4
    motor_loss: F4  # share of the mechanical power that becomes heat
    comfort_mps2: F4  # how hard the driver accelerates
    haste: F4  # the driver's speed over the usual speed of the road
    climate_c: F4  # mean temperature of the year where the car is
    season_k: F4  # half of the difference between summer and winter
    swing_k: F4  # half of the difference between day and night
    cells: F4  # cells of the battery in series
    capacity_as: F4  # capacity of the battery in ampere seconds
    resistance_ohm: F4  # of the battery at 25 °C
    wallbox: F4  # 1 where the car is charged at home, else 0
    heat_capacity_jpk: F4  # of motor, inverter and coolant; half of it is the coolant's
    radiator_wpk: F4  # at the reference air flow with the thermostat open
    opens_at_c: F4  # temperature at which the thermostat opens
    duct_m2: F4  # cross-section of the duct of the cooling air
    vibration_mv_per_mps: F4
    resonance_mps: F4  # road speed at which the drive train hums
    tyre_psi: F4  # (4, n) filling pressure at 20 °C
    wheel_gain: F4  # (4, n) gain from the roughness of the road to the acceleration at a wheel
    motor_wpk: F4  # from the windings of the motor to the coolant
    firmware: F4
    turn: F4  # 0 to 1: the order in which cars get a new firmware
    sensor_turn: F4  # likewise: a recalibrated sensor
    gateway_turn: F4  # likewise: a broken gateway
    gain: F4  # (signals, n) gain of the sensors
    bias: F4  # (signals, n) bias of the sensors in the signal's unit

    @property
    def energy_j(self) -> F4:
        """Energy of the full battery."""
        return self.cells * self.capacity_as * CELL_NOMINAL_V

    def ambient_c(self, day: F4) -> F4:
        """Air temperature at the cars; day (n,) counts from 1 January, its fraction is the time of day."""
        season = np.cos((day - WARMEST_DAY) * (2 * np.pi / YEAR_DAYS))
        hour = np.cos((day % 1 - WARMEST_HOUR / 24) * (2 * np.pi))
        air_c: F4 = self.climate_c + self.season_k * season + self.swing_k * hour
        return air_c


def car_id(index: int) -> str:
    """Id of the car with this number: car-000042."""
    return f"car-{index:06d}"


def models(keys: U8, first: int, new_from: int) -> NDArray[np.intp]:
    """(n,) index in MODELS of the cars first, first+1, …; the last model from car new_from on."""
    index: NDArray[np.intp] = np.searchsorted(
        np.cumsum(_MODEL_SHARE)[:-1], chance.uniforms(keys, _PURPOSE, 1)[0]
    )
    index[max(0, new_from - first) :] = len(MODELS) - 1
    return index


def draw(keys: U8, model: NDArray[np.intp], sensor_gain: F8, sensor_bias: F8) -> CarParameters:
    """Draw the cars of these keys and models.

    sensor_gain and sensor_bias (signals,) are the standard deviations of the sensors' errors over the cars.
    """
    spread = iter(chance.normals(keys, _PURPOSE + 1, 32).clip(-3, 3))
    u = chance.uniforms(keys, _PURPOSE + 2, 5)
    firmware = np.where(u[0] < _FIRMWARE_NEW_SHARE, *FIRMWARES[::-1])
    mass = _MASS_KG[model] * (1 + 0.02 * next(spread)) + 75  # with the driver
    drawn: dict[str, F8 | float] = {
        "mass_kg": mass,
        "drag_area_m2": _DRAG_AREA_M2[model] * (1 + 0.04 * next(spread)),
        "rolling": 0.010 * (1 + 0.08 * next(spread)),  # modern car tyres: 0.007 to 0.012 (ISO 28580 classes)
        "power_max_w": 1000 * _POWER_MAX_KW[model] * (1 + 0.02 * next(spread)),
        "force_max_n": mass * (3.8 + 0.2 * next(spread)),
        "motor_loss": 0.10 * (1 + 0.08 * next(spread)),
        "comfort_mps2": 1.5 * np.exp(0.2 * next(spread)),
        "haste": 1 + 0.07 * next(spread),
        # Mean of the year in cities of Central Europe: 6 to 14 °C (DWD, 1991-2020).
        "climate_c": 10 + 2.5 * next(spread),
        "season_k": 9 + 1.0 * next(spread),
        "swing_k": 4 + 0.8 * next(spread),
        "cells": _CELLS[model],
        "capacity_as": 3600 * _CAPACITY_AH[model] * (1 - 0.03 * np.abs(next(spread))),
        "resistance_ohm": 0.075 * (1 + 0.12 * next(spread)),
        "wallbox": u[1] < _WALLBOX_SHARE,
        "heat_capacity_jpk": 5.0e4 * (1 + 0.08 * next(spread)),  # 7 kg of coolant, 30 kg of aluminium
        "radiator_wpk": 110 * (1 + 0.08 * next(spread)),
        # The thermostat of an inverter opens at about 40 °C, below that of a combustion engine. The second
        # firmware keeps the motor 3 K cooler: a legitimate difference between cars.
        "opens_at_c": 40 + 1.0 * next(spread) - 3.0 * (firmware > FIRMWARES[0]),
        "duct_m2": _DUCT_M2[model] * (1 + 0.06 * next(spread)),
        "vibration_mv_per_mps": 80 * np.exp(0.15 * next(spread)),
        "resonance_mps": 17 + 2 * next(spread),
        "tyre_psi": _TYRE_PSI[model] + 0.8 * np.array([next(spread) for _ in range(4)]),
        "wheel_gain": 1 + 0.08 * np.array([next(spread) for _ in range(4)]),
        "motor_wpk": 50 * (1 + 0.08 * next(spread)),  # 2 kW of losses make 40 K
        "firmware": firmware,
        "turn": u[2],
        "sensor_turn": u[3],
        "gateway_turn": u[4],
        "gain": 1
        + sensor_gain[:, None] * chance.normals(keys, _PURPOSE + 3, _SENSORS_MAX)[: len(sensor_gain)],
        "bias": sensor_bias[:, None] * chance.normals(keys, _PURPOSE + 4, _SENSORS_MAX)[: len(sensor_bias)],
    }
    return CarParameters(**{name: np.asarray(values, np.float32) for name, values in drawn.items()})
