"""Tyres and accelerometers at the four wheels. Arrays (4, n): front left and right, rear left and right."""

import numpy as np

from simulator.chance import F4
from simulator.powertrain import relax

FILLED_AT_K = 293.15
ATMOSPHERE_PSI = 14.696
TYRE_COOLS_S = 2700.0  # parked
TYRE_WARMS_S = 900.0  # a tyre needs a quarter of an hour to its running temperature
# A warm tyre on the highway is about 20 K above the air, which adds 10 to 12 % of pressure.
WARMING_K_PER_MPS = 0.65
SOFT_WARMING_PER_PSI = 0.03  # a soft tyre flexes more, and so does a loaded one: in proportion to
LOAD_KG = 450.0  # at a wheel, where the tyre warms as said
VOLUME_PER_LOAD = 0.015  # the share of its volume that this load presses out of a tyre
# Of the heat of a dragging brake a sixth goes through rim and bead; 68 W/K is what 1.3 kW of flexing (a
# hundredth of 4.4 kN at 30 m/s) makes those 20 K with.
BRAKE_TO_TYRE_KPW = 0.16 / 68
SHAKE_MPS2 = 1.1  # vertical, root mean square, at 1 m/s on an average road


def tyre_c(before: F4, *, ambient_c: F4, speed: F4, mass: F4, lost_psi: F4, drag_n: F4, dt_s: float) -> F4:
    """Temperature of the tyres (4, n) after dt_s at a speed (n,), brakes dragging with drag_n (4, n)."""
    flexing = (WARMING_K_PER_MPS / 4 / LOAD_KG) * mass * speed
    warming = flexing * (1 + SOFT_WARMING_PER_PSI * lost_psi) + (BRAKE_TO_TYRE_KPW * speed) * drag_n
    return relax(before, ambient_c + warming, dt_s, TYRE_WARMS_S)


def tyre_psi(filled_psi: F4, lost_psi: F4, temperature_c: F4, mass: F4) -> F4:
    """Gauge pressure (4, n) of a gas in a volume that the load makes smaller.

    lost_psi is what escaped, measured at 20 °C; filled is what a tyre holds under LOAD_KG.
    """
    absolute = np.maximum(filled_psi - lost_psi, 0) + ATMOSPHERE_PSI
    pressed = (1 - VOLUME_PER_LOAD + VOLUME_PER_LOAD / 4 / LOAD_KG * mass) * (1 / FILLED_AT_K)
    gauge: F4 = absolute * ((temperature_c + 273.15) * pressed) - ATMOSPHERE_PSI
    return gauge


def shaking_mps2(roughness: F4, speed: F4, wheel_gain: F4, bearing_mps2: F4, noise: F4) -> F4:
    """Vertical acceleration (4, n), root mean square over the last second.

    The spectrum of ISO 8608 gives a power that grows with the speed, so the amplitude with its root; a worn
    bearing adds (in squares) its own at that wheel.
    """
    road = (SHAKE_MPS2 * roughness * np.sqrt(speed)) * wheel_gain
    own = bearing_mps2 * speed * (1 / 25)
    return np.sqrt(road * road + own * own) * (1 + 0.10 * noise)
