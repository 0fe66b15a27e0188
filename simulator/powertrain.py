"""Battery, motor, coolant circuit, intake air and vibration."""

import math

import numpy as np

from simulator.chance import F4
from simulator.driving import MOTOR_NOISE, TimeStep
from simulator.trips import CHARGE_W, CHARGING

REGENERATION_MAX_W = 60_000.0
REGENERATION_FADES_MPS = 5.0  # below it the friction brakes take over
COMFORTABLE_C = 21.0
AUXILIARY_W, CLIMATE_WPK = 350.0, 60.0  # lights and computers; heat pump, per kelvin away from COMFORTABLE_C

# The resistance of a lithium-ion cell doubles from 25 to 0 °C (Waag et al. 2013).
COLD_PER_K, RESISTANCE_AT_C = 0.028, 25.0
BATTERY_JPK, BATTERY_WPK = 4.0e5, 40.0  # 400 kg at 1 kJ/kgK; heat lost to the air per kelvin

COOLANT_FLOW_WPK = 600.0  # 10 l/min of water and glycol: 0.17 kg/s at 3.5 kJ/kgK
COOLANT_BOILS_C = 120.0  # half water, half glycol, under the pressure of the cap
HEAT_SPREADS_S = 15.0  # time constant from the windings to the coolant
THERMOSTAT_RANGE_K = 8.0
THERMOSTAT_LEAK = 0.06
FAN_MPS, FAN_BOOST_MPS = 1.5, 2.0
RAM_SHARE = 0.22  # air speed in the duct over road speed
AIR_REFERENCE_MPS = 6.0
AIR_SENSOR_S = 40.0  # time constant

MOTOR_JPK = 6_000.0  # 15 kg of copper and iron around the sensor in the windings
MOTOR_AIR_WPK = 1.5  # heat lost to the air around the motor per kelvin and root of the speed in m/s

# Time constants in seconds with which a parked car cools down to the ambient temperature.
MOTOR_COOLS_S, BATTERY_COOLS_S, BAY_COOLS_S = 5400.0, 36_000.0, 3600.0

# The next firmware runs the fan faster at idle and recovers more power when braking.
NEXT_FAN_MPS, NEXT_REGENERATION_W = 0.5, 15_000.0


def relax(value: F4, towards: F4, dt_s: float, tau_s: float) -> F4:
    """`value` after dt_s of a first-order lag `towards` a target with time constant tau_s (exact)."""
    return value + (towards - value) * (1 - math.exp(-dt_s / tau_s))


def draw_power(step: TimeStep, force: F4, speed: F4) -> tuple[F4, F4, F4]:
    """Update charge and temperature of the battery. Returns (heat of the motor in W, voltage, current).

    Regenerative braking is limited to what the motor can take; the friction brakes absorb the rest.
    """
    car, state, damage, dt_s = step.car, step.state, step.damage, step.dt_s
    share = np.minimum(speed * (1 / REGENERATION_FADES_MPS), 1)
    motor_w = np.maximum(force * speed, share * (-REGENERATION_MAX_W - NEXT_REGENERATION_W * step.updated))
    # 5 W remain at a standstill: heat that decays to denormal float32 numbers would be slow to compute.
    loss_w = car.motor_loss * np.abs(motor_w) + (5 + 145 * (speed > 0))
    power_w = motor_w + loss_w + AUXILIARY_W + CLIMATE_WPK * np.abs(step.ambient_c - COMFORTABLE_C)
    power_w -= CHARGE_W * ((step.trip.road == CHARGING) & (speed == 0))
    # Open-circuit voltage of nickel manganese cobalt cells: 4.15 V when full, 3.75 V at one half, steep below
    # a tenth.
    open_v = car.cells * (3.35 + 0.80 * state.charge - 0.25 * np.exp(-14 * state.charge))
    cold = np.exp(-COLD_PER_K * (state.battery_c - RESISTANCE_AT_C))
    ohm = car.resistance_ohm * cold * damage.resistance
    current = current_a(power_w, open_v, ohm)
    state.charge[:] = np.clip(state.charge - current * dt_s / (car.capacity_as * damage.capacity), 0.02, 1)
    settled = step.ambient_c + current * current * ohm * (1 / BATTERY_WPK)
    state.battery_c[:] = relax(state.battery_c, settled, dt_s, BATTERY_JPK / BATTERY_WPK)
    return loss_w, open_v - current * ohm, current


def current_a(power_w: F4, open_v: F4, resistance: F4) -> F4:
    """Current that gives power_w at the terminals: the smaller root of P = (U - R I) I.

    The power is limited so that the voltage at the terminals stays above three quarters of open_v.
    """
    squared = open_v * open_v
    root = np.sqrt(np.maximum(squared - 4 * resistance * power_w, 0.25 * squared))
    ampere: F4 = (open_v - root) / (2 * resistance)
    return ampere


def cool(step: TimeStep, loss_w: F4, speed: F4) -> F4:
    """Update temperatures of coolant, motor and intake air. Returns the air flow in the duct in g/s."""
    car, state, ambient_c, dt_s = step.car, step.state, step.ambient_c, step.dt_s
    kept = step.damage.coolant_kept
    state.heat_w[:] = relax(state.heat_w, loss_w, dt_s, HEAT_SPREADS_S)
    # The fan runs faster for a hot motor; the car's speed adds ram air.
    boost = np.clip((state.coolant_c - step.opens_at_c - 6) * (1 / 6), 0, 1)
    fan = FAN_MPS + NEXT_FAN_MPS * step.updated + FAN_BOOST_MPS * boost
    air_mps = (fan + RAM_SHARE * speed) * step.damage.filter_pass
    # The slower the air flows, the more the motor bay warms it.
    warmed = ambient_c + (state.coolant_c - ambient_c) * 0.4 / (1 + air_mps)
    state.air_c[:] = relax(state.air_c, warmed, dt_s, AIR_SENSOR_S)
    # Heat from the motor in; radiator and thermostat out.
    opened = np.clip((state.coolant_c - step.opens_at_c) * (1 / THERMOSTAT_RANGE_K), THERMOSTAT_LEAK, 1)
    radiator_wpk = car.radiator_wpk * kept
    radiated_wpk = radiator_wpk * opened * (0.25 + (0.75 / AIR_REFERENCE_MPS) * air_mps)
    settled = ambient_c + state.heat_w / radiated_wpk
    capacity = car.heat_capacity_jpk * (0.5 + 0.5 * kept)
    # At most one thermostat range per step, because the conductance is that of the beginning of the step.
    change = (settled - state.coolant_c) * -np.expm1(-dt_s * radiated_wpk / capacity)
    state.coolant_c += np.clip(change, -THERMOSTAT_RANGE_K, THERMOSTAT_RANGE_K)
    # Losses heat the windings, coolant and airflow cool them. Forced convection grows with the root of the
    # speed (Incropera, Fundamentals of Heat and Mass Transfer, laminar flow along a plate).
    coolant_wpk, air_wpk = car.motor_wpk * kept, MOTOR_AIR_WPK * np.sqrt(speed)
    lost_wpk = coolant_wpk + air_wpk
    settled = (loss_w + coolant_wpk * state.coolant_c + air_wpk * ambient_c) / lost_wpk
    state.motor_c += (settled - state.motor_c) * -np.expm1(lost_wpk * (-dt_s / MOTOR_JPK))
    # Ideal gas: 1.293 kg/m³ at 0 °C.
    air_gps: F4 = 1293.0 * car.duct_m2 * air_mps * (273.15 / (273.15 + state.air_c))
    return air_gps


def outlet_c(step: TimeStep) -> F4:
    """Temperature at the outlet of the motor: that of the circuit plus the rise inside the motor.

    After a leak the coolant flows more slowly, so the rise grows; bubbles pass the sensor, so it fluctuates.
    """
    coolant_kept = step.damage.coolant_kept
    rise = step.state.heat_w * (1 / COOLANT_FLOW_WPK) / coolant_kept
    rise *= np.maximum(1 + (1 - coolant_kept) * step.noise[MOTOR_NOISE], 0)
    outlet: F4 = np.minimum(step.state.coolant_c + rise, COOLANT_BOILS_C)
    return outlet


def vibration_mv(step: TimeStep, speed: F4, force: F4) -> F4:
    """Amplitude at the motor's mount: grows with speed, load and wear, and near the resonance."""
    off = (speed - step.car.resonance_mps) * (1 / 2.5)
    load = np.abs(force) / step.car.force_max_n
    hum = speed * (1 + 0.35 / (1 + off * off) + 0.5 * load) * (1 + step.damage.vibration)
    amplitude: F4 = (15 + step.car.vibration_mv_per_mps * hum) * (1 + 0.05 * step.noise[MOTOR_NOISE])
    return amplitude
