"""Tyres and accelerometers at the four wheels.

Arrays (4, n) have a row per wheel: front left, front right, rear left, rear right.
"""

import numpy as np

from simulator.chance import F4
from simulator.faults import Damage
from simulator.powertrain import relax

FILLED_AT_K = 293.15
ATMOSPHERE_PSI = 14.696
TYRE_COOLS_S = 2700.0  # time constant of a parked car's tyres
TYRE_WARMS_S = 900.0  # time constant while driving
# A warm tyre on the highway is about 20 K above the air, which adds 10 to 12 % of pressure.
WARMING_K_PER_MPS = 0.65
SOFT_WARMING_PER_PSI = 0.03  # a soft tyre flexes more
LOAD_KG = 450.0  # load of a wheel to which WARMING_K_PER_MPS applies; the warming is proportional to the load
VOLUME_PER_LOAD = 0.015  # share of the volume by which LOAD_KG compresses a tyre
# A sixth of the heat of a dragging brake reaches the tyre through rim and bead. 68 W/K follows from the 20 K
# above: flexing produces 1.3 kW, which is 1 % of 4.4 kN at 30 m/s.
BRAKE_TO_TYRE_KPW = 0.16 / 68
SHAKE_MPS2 = 1.1  # vertical acceleration (root mean square) at 1 m/s on an average road


def tyre_c(before: F4, damage: Damage, *, ambient_c: F4, speed: F4, mass: F4, dt_s: float) -> F4:
    """Temperature (4, n) of the tyres after dt_s at a speed (n,), with leaks and dragging brakes."""
    flexing = (WARMING_K_PER_MPS / 4 / LOAD_KG) * mass * speed
    warming = flexing * (1 + SOFT_WARMING_PER_PSI * damage.lost_psi)
    warming += (BRAKE_TO_TYRE_KPW * speed) * damage.drag_n
    return relax(before, ambient_c + warming, dt_s, TYRE_WARMS_S)


def tyre_psi(filled_psi: F4, lost_psi: F4, temperature_c: F4, mass: F4) -> F4:
    """Gauge pressure (4, n) of an ideal gas in a volume that the load compresses.

    filled_psi is the pressure at 20 °C under LOAD_KG, lost_psi the pressure lost by leaking, also at 20 °C.
    """
    absolute = np.maximum(filled_psi - lost_psi, 0) + ATMOSPHERE_PSI
    pressed = (1 - VOLUME_PER_LOAD + VOLUME_PER_LOAD / 4 / LOAD_KG * mass) * (1 / FILLED_AT_K)
    gauge: F4 = absolute * ((temperature_c + 273.15) * pressed) - ATMOSPHERE_PSI
    return gauge


def shaking_mps2(roughness: F4, speed: F4, wheel_gain: F4, bearing_mps2: F4, noise: F4) -> F4:
    """Vertical acceleration (4, n), root mean square over the last second.

    By the spectrum of ISO 8608 the power grows with the speed, so the amplitude grows with its square root. A
    worn bearing adds vibration at its wheel (a sum of squares).
    """
    road = (SHAKE_MPS2 * roughness * np.sqrt(speed)) * wheel_gain
    bearing = bearing_mps2 * speed * (1 / 25)
    return np.sqrt(road * road + bearing * bearing) * (1 + 0.10 * noise)
