"""Longitudinal dynamics: from a target speed to speed, acceleration, force at the wheels and the pedal.

All functions are exact or bounded for any dt_s, so that a car sampled every 10 s drives like one sampled
every second.
"""

import math

import numpy as np

from simulator.chance import F4

AIR_KGPM3 = 1.20  # at 20 °C and sea level
GRAVITY_MPS2 = 9.81
REACTION_S = 3.0  # time in which a driver closes the gap to the target speed
BRAKING_MPS2 = 2.0  # comfortable braking (about 0.2 g)
WOBBLE_S, WOBBLE_MPS2 = 4.0, 0.25  # a foot is never still: size and memory of small changes of the pedal
HILL_M = 400.0  # the distance over which a grade forgets itself


def wobble(before: F4, noise: F4, dt_s: float) -> F4:
    """Small accelerations by the foot, m/s² (Ornstein-Uhlenbeck)."""
    kept = math.exp(-dt_s / WOBBLE_S)
    return kept * before + (WOBBLE_MPS2 * math.sqrt(1 - kept * kept)) * noise


def follow(speed: F4, target: F4, foot: F4, comfort: F4, dt_s: float) -> tuple[F4, F4]:
    """(speed m/s, acceleration m/s² at the end) after dt_s of following the target speed."""
    foot = foot * (target > 0)
    closing = (target - speed) * (1 - math.exp(-dt_s / REACTION_S)) + foot * min(dt_s, REACTION_S)
    after = np.maximum(speed + np.clip(closing, -BRAKING_MPS2 * dt_s, comfort * dt_s), 0)
    wish = (target - after) * (1 / REACTION_S) + foot
    return after, np.clip(wish, -BRAKING_MPS2, comfort) * (after > 0)


def grade(before: F4, steepness: F4, speed: F4, noise: F4, dt_s: float) -> F4:
    """Slope of the road, height over distance: forgets itself over distance, not over time."""
    kept = np.exp(speed * (-dt_s / HILL_M))
    slope: F4 = kept * before + steepness * np.sqrt(1 - kept * kept) * noise
    return slope


def wheel_force(*, mass: F4, drag_area: F4, rolling: F4, speed: F4, acceleration: F4, slope: F4) -> F4:
    """Force in N at the wheels: inertia, grade, rolling resistance, drag; 0 for a car that stands."""
    weight = mass * (acceleration + GRAVITY_MPS2 * (slope + rolling))
    return (weight + (AIR_KGPM3 / 2) * drag_area * speed * speed) * (speed > 0)


def pedal(force: F4, speed: F4, force_max: F4, power_max: F4) -> F4:
    """Throttle 0..1 for a force: its share of what the motor can do, on a pedal blunt at its end."""
    able = np.minimum(force_max, power_max / np.maximum(speed, 1.0))
    share = np.clip(force / able, 0, 1)
    return share * (1.6 - 0.6 * share)
