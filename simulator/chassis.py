"""Tyres and accelerometers at the four wheels.

Arrays (4, n) have a row per wheel: front left, front right, rear left, rear right.
"""

import numpy as np

from simulator.chance import F4
from simulator.driving import WHEEL_NOISE, TimeStep
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


def tyre_psi(step: TimeStep, speed: F4) -> F4:
    """Update the tyres' temperature. Returns the gauge pressure (4, n) of an ideal gas.

    Its volume is compressed by the load; leaks lower the pressure and dragging brakes warm the tyre.
    """
    flexing = (WARMING_K_PER_MPS / 4 / LOAD_KG) * step.mass_kg * speed
    warming = flexing * (1 + SOFT_WARMING_PER_PSI * step.damage.lost_psi)
    warming += (BRAKE_TO_TYRE_KPW * speed) * step.damage.drag_n
    tyre_c = step.state.tyre_c
    tyre_c[:] = relax(tyre_c, step.ambient_c + warming, step.dt_s, TYRE_WARMS_S)
    absolute = np.maximum(step.car.tyre_psi - step.damage.lost_psi, 0) + ATMOSPHERE_PSI
    pressed = (1 - VOLUME_PER_LOAD + VOLUME_PER_LOAD / 4 / LOAD_KG * step.mass_kg) * (1 / FILLED_AT_K)
    gauge: F4 = absolute * ((tyre_c + 273.15) * pressed) - ATMOSPHERE_PSI
    return gauge


def shaking_mps2(step: TimeStep, speed: F4) -> F4:
    """Vertical acceleration (4, n), root mean square over the last second.

    By the spectrum of ISO 8608 the power grows with the speed, so the amplitude grows with its square root. A
    worn bearing adds vibration at its wheel (a sum of squares).
    """
    road = (SHAKE_MPS2 * step.trip.roughness * np.sqrt(speed)) * step.car.wheel_gain
    bearing = step.damage.bearing_mps2 * speed * (1 / 25)
    return np.sqrt(road * road + bearing * bearing) * (1 + 0.10 * step.noise[WHEEL_NOISE])
