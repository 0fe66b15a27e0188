"""One time step of a group of cars: its inputs and the state that it changes."""

from dataclasses import dataclass, field

import numpy as np

from simulator.cars import CarParameters, PerCar
from simulator.chance import F4
from simulator.faults import Damage
from simulator.trips import Trips

# Rows of TimeStep.noise.
FOOT_NOISE, SLOPE_NOISE, MOTOR_NOISE = slice(0, 2), 2, 3
WHEEL_NOISE, SENSOR_NOISE = slice(4, 8), slice(8, None)

NEXT_COOLER_K = 3.0  # the next firmware opens the thermostat this much below the usual temperature


@dataclass
class DrivingState(PerCar):
    """Quantities of n cars that change while they drive; arrays (n,) float32."""

    speed: F4  # m/s, without the effect of the foot
    foot: F4  # m/s², acceleration by small movements of the foot
    sway_mps: F4  # effect of the foot on the speed
    slope: F4  # height over distance
    charge: F4  # state of charge, 0 to 1
    battery_c: F4
    heat_w: F4  # heat that reaches the coolant
    coolant_c: F4
    air_c: F4  # intake air
    motor_c: F4  # windings
    tyre_c: F4  # (4, n)


@dataclass
class TimeStep:
    """One time step of k cars, which changes `state` and `trip`. Arrays (k,) float32."""

    car: CarParameters
    state: DrivingState
    trip: Trips
    damage: Damage
    updated: F4  # 1 where the next firmware runs, else 0
    noise: F4  # (rows, k) standard normal numbers
    dt_s: float  # length of the step
    driven_s: F4 = field(init=False)  # time spent on the leg that is current at the end of the step
    ambient_c: F4 = field(init=False)  # air temperature at the end of the step
    opens_at_c: F4 = field(init=False)  # temperature at which the thermostat opens with the current firmware

    def __post_init__(self) -> None:
        self.driven_s = np.full(len(self.updated), self.dt_s, np.float32)
        self.opens_at_c = self.car.opens_at_c - NEXT_COOLER_K * self.updated

    @property
    def mass_kg(self) -> F4:
        """Mass of the car with its load on this trip."""
        return self.car.mass_kg + self.trip.load_kg
