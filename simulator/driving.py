"""A time step of a group of cars, and how they drive in it: speed, force at the wheels and the pedal.

All functions are exact for any dt_s, so a car sampled every 10 s drives like one sampled every second.
"""

import math
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from simulator.cars import CarParameters, PerCar
from simulator.chance import F4
from simulator.faults import Damage
from simulator.trips import HILLS, Trips

# Rows of TimeStep.noise.
FOOT_NOISE, SLOPE_NOISE, MOTOR_NOISE = slice(0, 2), 2, 3
WHEEL_NOISE, SENSOR_NOISE = slice(4, 8), slice(8, None)

NEXT_COOLER_K = 3.0  # the next firmware opens the thermostat this much below the usual temperature

AIR_KGPM3 = 1.204  # at 20 °C and sea level
AIR_AT_K = 293.15
GRAVITY_MPS2 = 9.81
REACTION_S = 3.0  # time constant with which a driver closes the gap to the target speed
BRAKING_MPS2 = 2.0  # comfortable braking (about 0.2 g)
# Small random accelerations by the driver's foot: correlation time and standard deviation.
FOOT_S, FOOT_MPS2 = 4.0, 0.25
SWAYS_FROM_MPS = 5.0  # speed from which the foot has its full effect
STANDS_BELOW_MPS = 0.3
HILL_M = 400.0  # correlation length of the grade


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


def sway(foot: F4, sway_mps: F4, noise: F4, dt_s: float) -> tuple[F4, F4]:
    """(acceleration by the foot in m/s², its effect on the speed in m/s) after dt_s; noise is (2, n).

    The acceleration is an Ornstein-Uhlenbeck process with correlation time FOOT_S; the driver corrects the
    speed with time constant REACTION_S.
    """
    kept, into, back, own, shared, rest = _sway_coefficients(dt_s)
    after: F4 = back * sway_mps + into * foot + shared * noise[0] + rest * noise[1]
    return kept * foot + own * noise[0], after


@cache
def _sway_coefficients(dt_s: float) -> tuple[float, float, float, float, float, float]:
    """The exact step of both: three coefficients of decay, and the Cholesky factor of the noise."""
    kept, back = math.exp(-dt_s / FOOT_S), math.exp(-dt_s / REACTION_S)
    into = (kept - back) / (1 / REACTION_S - 1 / FOOT_S)
    foot = FOOT_MPS2**2  # stationary variances
    both = foot / (1 / FOOT_S + 1 / REACTION_S)
    speed = REACTION_S * both
    own = math.sqrt(foot * (1 - kept * kept))
    shared = (both - kept * (into * foot + back * both)) / own
    rest = speed - (into * into * foot + 2 * into * back * both + back * back * speed) - shared * shared
    return kept, into, back, own, shared, math.sqrt(max(rest, 0.0))


def follow(speed: F4, target: F4, comfort: F4, dt_s: F4) -> tuple[F4, F4]:
    """(speed in m/s, acceleration in m/s²) after following the target speed for dt_s (n,).

    The driver accelerates at most with `comfort` m/s² and closes the last of the gap with REACTION_S.
    """
    gap = target - speed
    limit = np.where(gap > 0, comfort, np.float32(BRAKING_MPS2))
    width = np.abs(gap)
    hard_s = np.clip(width / limit - REACTION_S, 0, dt_s)
    width = (width - limit * hard_s) * np.exp((hard_s - dt_s) * (1 / REACTION_S))
    after = target - np.copysign(width, gap)
    moves = (target > 0) | (after > STANDS_BELOW_MPS)
    return after * moves, np.copysign(np.minimum(width * (1 / REACTION_S), limit), gap) * moves


def move(step: TimeStep) -> tuple[F4, F4]:
    """Update speed, foot and slope. Returns (speed in m/s, force at the wheels in N), each (k,).

    The force covers inertia, grade, rolling resistance, drag and dragging brakes; it is 0 at a standstill.
    """
    car, state, trip, dt_s = step.car, step.state, step.trip, step.dt_s
    state.speed[:], acceleration = follow(state.speed, trip.target_mps, car.comfort_mps2, step.driven_s)
    state.foot[:], state.sway_mps[:] = sway(state.foot, state.sway_mps, step.noise[FOOT_NOISE], dt_s)
    moving = np.minimum(state.speed * (1 / SWAYS_FROM_MPS), 1)
    acceleration += moving * (state.foot - state.sway_mps * (1 / REACTION_S))
    speed = np.maximum(state.speed + moving * state.sway_mps, 0)
    # The grade decorrelates over distance, not over time.
    steepness = HILLS[trip.road.astype(np.intp)]
    kept = np.exp(speed * (-dt_s / HILL_M))
    state.slope[:] = kept * state.slope + steepness * np.sqrt(1 - kept * kept) * step.noise[SLOPE_NOISE]
    weight = step.mass_kg * (acceleration + GRAVITY_MPS2 * (state.slope + car.rolling))
    air = (AIR_KGPM3 * AIR_AT_K / 2) / (step.ambient_c + 273.15)  # cold air is dense
    moves = speed > 0
    brakes = step.damage.drag_n.sum(axis=0) * moves
    return speed, brakes + (weight + air * car.drag_area_m2 * speed * speed) * moves


def pedal(car: CarParameters, force: F4, speed: F4) -> F4:
    """Throttle of 0 to 1 for a force: its share of the motor's maximum, on a degressive pedal curve."""
    limit = np.minimum(car.force_max_n, car.power_max_w / np.maximum(speed, 1.0))
    share = np.clip(force / limit, 0, 1)
    return share * (1.6 - 0.6 * share)
