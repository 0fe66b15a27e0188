"""Longitudinal dynamics: from a target speed to speed, acceleration, force at the wheels and the pedal.

All functions are exact for any dt_s, so that a car sampled every 10 s drives like one sampled every second.
"""

import math
from functools import cache

import numpy as np

from simulator.chance import F4

AIR_KGPM3 = 1.204  # at 20 °C and sea level
AIR_AT_K = 293.15
GRAVITY_MPS2 = 9.81
REACTION_S = 3.0  # time in which a driver closes the gap to the target speed
BRAKING_MPS2 = 2.0  # comfortable braking (about 0.2 g)
FOOT_S, FOOT_MPS2 = 4.0, 0.25  # a foot is never still: size and memory of small changes of the pedal
SWAYS_FROM_MPS = 5.0  # below it a driver creeps with a still foot
STANDS_BELOW_MPS = 0.3
HILL_M = 400.0  # the distance over which a grade forgets itself


def sway(foot: F4, sway_mps: F4, noise: F4, dt_s: float) -> tuple[F4, F4]:
    """(small accelerations by the foot m/s², what they do to the speed m/s) after dt_s; noise (2, n).

    The foot forgets itself in FOOT_S (Ornstein-Uhlenbeck), the driver takes the speed back in REACTION_S.
    """
    kept, into, back, own, shared, rest = _sway_steps(dt_s)
    after: F4 = back * sway_mps + into * foot + shared * noise[0] + rest * noise[1]
    return kept * foot + own * noise[0], after


@cache
def _sway_steps(dt_s: float) -> tuple[float, float, float, float, float, float]:
    """The exact step of both: what is kept, and the Cholesky factor of what chance adds."""
    kept, back = math.exp(-dt_s / FOOT_S), math.exp(-dt_s / REACTION_S)
    into = (kept - back) / (1 / REACTION_S - 1 / FOOT_S)
    foot = FOOT_MPS2**2  # variances in the long run
    both = foot / (1 / FOOT_S + 1 / REACTION_S)
    speed = REACTION_S * both
    own = math.sqrt(foot * (1 - kept * kept))
    shared = (both - kept * (into * foot + back * both)) / own
    rest = speed - (into * into * foot + 2 * into * back * both + back * back * speed) - shared * shared
    return kept, into, back, own, shared, math.sqrt(max(rest, 0.0))


def follow(speed: F4, target: F4, comfort: F4, dt_s: F4) -> tuple[F4, F4]:
    """(speed m/s, acceleration m/s² at the end) after dt_s (n,) of following the target speed.

    A driver accelerates no harder than is comfortable, and closes the last of the gap in REACTION_S.
    """
    gap = target - speed
    limit = np.where(gap > 0, comfort, np.float32(BRAKING_MPS2))
    width = np.abs(gap)
    hard_s = np.clip(width / limit - REACTION_S, 0, dt_s)
    width = (width - limit * hard_s) * np.exp((hard_s - dt_s) * (1 / REACTION_S))
    after = target - np.copysign(width, gap)
    moves = (target > 0) | (after > STANDS_BELOW_MPS)
    return after * moves, np.copysign(np.minimum(width * (1 / REACTION_S), limit), gap) * moves


def grade(before: F4, steepness: F4, speed: F4, noise: F4, dt_s: float) -> F4:
    """Slope of the road, height over distance: forgets itself over distance, not over time."""
    kept = np.exp(speed * (-dt_s / HILL_M))
    slope: F4 = kept * before + steepness * np.sqrt(1 - kept * kept) * noise
    return slope


def wheel_force(
    *, mass: F4, drag_area: F4, rolling: F4, speed: F4, acceleration: F4, slope: F4, ambient_c: F4
) -> F4:
    """Force in N at the wheels: inertia, grade, rolling resistance, drag; 0 for a car that stands."""
    weight = mass * (acceleration + GRAVITY_MPS2 * (slope + rolling))
    air = (AIR_KGPM3 * AIR_AT_K / 2) / (ambient_c + 273.15)  # cold air is dense
    return (weight + air * drag_area * speed * speed) * (speed > 0)


def pedal(force: F4, speed: F4, force_max: F4, power_max: F4) -> F4:
    """Throttle 0..1 for a force: its share of what the motor can do, on a pedal blunt at its end."""
    able = np.minimum(force_max, power_max / np.maximum(speed, 1.0))
    share = np.clip(force / able, 0, 1)
    return share * (1.6 - 0.6 * share)
