"""The fleet: composes trips, driving, powertrain, chassis, faults and sensors for a run of cars."""

import math
from dataclasses import dataclass

import numpy as np

from contract.telemetry import SIGNALS
from simulator import cars as car_parameters
from simulator import chance, chassis, driving, powertrain, sensors, trips
from simulator.cars import Cars
from simulator.chance import F4
from simulator.faults import Damage, FaultPlan, Wear
from simulator.trips import Trips

_CHUNK_CARS = 1024  # the arrays of so many cars stay in a core's cache
# Rows of noise: foot, slope, motor, four wheels; then one a sensor.
_DRIVING_NOISES = 7
_NOISES = _DRIVING_NOISES + len(SIGNALS)
_DAY_S = 86_400.0
_WARM_UP_STEP_S, _WARM_UP_STEPS = 20.0, 30  # ten minutes: longer than a leg, most of a warm-up


@dataclass
class State:
    """What changes while a car drives; arrays (n,) float32, tyre_c (4, n)."""

    speed: F4
    foot: F4
    slope: F4
    charge: F4  # of the battery, 0 to 1
    heat_w: F4  # that reaches the coolant
    coolant_c: F4
    air_c: F4
    tyre_c: F4

    def __getitem__(self, group: slice) -> "State":
        """The same for a part of the cars: views."""
        return State(self.speed[group], self.foot[group], self.slope[group], self.charge[group],
                     self.heat_w[group], self.coolant_c[group], self.air_c[group],
                     self.tyre_c[:, group])  # fmt: skip


class Fleet:
    """The cars first … first+cars-1 of the fleet with this seed. A car is the same in every split."""

    def __init__(
        self, *, seed: int, first: int, cars: int, wear: Wear | None = None, now_s: float = 0.0
    ) -> None:
        self.first, self.cars = first, cars
        self._keys = chance.keys(seed, first, cars)
        self.plan = FaultPlan(self._keys, first, wear or Wear())
        self.parameters = car_parameters.draw(self._keys, sensors.GAIN_SPREAD, sensors.BIAS_SPREAD)
        self._held: F4 = np.full(len(self.plan.car), np.nan, np.float32)  # by sensors that may be stuck
        charge = (0.2 + 0.5 * chance.uniforms(self._keys, 0, 1)[0]).astype(np.float32)
        self._trips = trips.start(self._keys, charge, self.parameters.capacity_as)
        self._state = self._warm_state(charge)
        for back in range(_WARM_UP_STEPS, 0, -1):
            self.step(slice(0, cars), now_s - back * _WARM_UP_STEP_S, _WARM_UP_STEP_S)

    def _warm_state(self, charge: F4) -> State:
        """Cars in the middle of their trips, with about the temperatures of some time on the road."""
        car, road = self.parameters, self._trips.road.astype(np.intp)
        warm = chassis.WARMING_K_PER_MPS * np.array([9, 19, 30, 6], np.float32)[road]
        return State(
            speed=self._trips.target_mps * 1,
            foot=np.zeros(self.cars, np.float32),
            slope=np.zeros(self.cars, np.float32),
            charge=charge,
            heat_w=np.full(self.cars, 800, np.float32),
            coolant_c=car.opens_at_c + 2,
            air_c=car.climate_c + 3,
            tyre_c=np.tile(car.climate_c + warm, (4, 1)),
        )

    def step(self, group: slice, now_s: float, dt_s: float) -> F4:
        """Let dt_s pass for the cars of `group` (start:stop within this fleet), ending at now_s of the run.

        Returns what their sensors say, (k, 18) in the order of SIGNALS.
        """
        if group.stop - group.start <= _CHUNK_CARS:
            return self._step(group, now_s, dt_s)
        starts = range(group.start, group.stop, _CHUNK_CARS)
        parts = [self._step(slice(s, min(s + _CHUNK_CARS, group.stop)), now_s, dt_s) for s in starts]
        return np.concatenate(parts)

    def _step(self, group: slice, now_s: float, dt_s: float) -> F4:
        now_ms, keys = round(now_s * 1000), self._keys[group]
        acting = self.plan.acting(group, now_s)
        car, noise = self.parameters[group], chance.noise(keys, now_ms, _NOISES)
        moment = Moment(
            car=car,
            state=self._state[group],
            trip=self._trips[group],
            damage=Damage(acting, len(keys)),
            ambient_c=car.climate_c - car.swing_c * math.cos(2 * math.pi * now_s / _DAY_S),
            noise=noise,
            dt_s=dt_s,
        )
        trips.advance(moment.trip, keys=keys, car=car, charge=moment.state.charge, dt_s=dt_s, now_ms=now_ms)
        true = _signals(moment)
        sensors.drift(true, *acting.of("sensor_drift"), self.plan.upwards)
        seen = sensors.read(true, car.gain, car.bias, noise[_DRIVING_NOISES:])
        stuck, sensor = acting.of("sensor_stuck")
        sensors.stick(seen, stuck, sensor, self.plan.out_of_contact(stuck, now_s), self._held)
        return seen


@dataclass
class Moment:
    """One step of k cars: what they are, their state (changed by the step), and what acts on them."""

    car: Cars
    state: State
    trip: Trips
    damage: Damage
    ambient_c: F4
    noise: F4
    dt_s: float


def _signals(moment: Moment) -> F4:
    """Let the step pass. What is true at its end, (18, k) in the order of SIGNALS."""
    car, state, damage, noise = moment.car, moment.state, moment.damage, moment.noise
    force = _move(moment)
    speed = state.speed
    loss_w, voltage, current = _draw_power(moment, force)
    air_mps = _cool(moment, loss_w)
    state.tyre_c[:] = chassis.tyre_c(
        state.tyre_c,
        ambient_c=moment.ambient_c,
        speed=speed,
        lost_psi=damage.lost_psi,
        drag_n=damage.drag_n,
        dt_s=moment.dt_s,
    )
    true = np.empty((len(SIGNALS), len(speed)), np.float32)
    true[0] = powertrain.outlet_c(state.coolant_c, state.heat_w, damage.coolant_kept, noise[2])
    true[1] = state.air_c
    true[2] = powertrain.air_flow_gps(air_mps, car.duct_m2, state.air_c)
    true[3] = 100 * state.charge
    true[4] = voltage
    true[5] = current
    true[6] = speed
    true[7] = powertrain.vibration_mv(
        speed=speed,
        force_share=np.abs(force) / car.force_max_n,
        per_mps=car.vibration_mv_per_mps,
        resonance=car.resonance_mps,
        wear=damage.vibration,
        noise=noise[2],
    )
    true[8] = driving.pedal(force, speed, car.force_max_n, car.power_max_w)
    true[9:13] = chassis.tyre_psi(car.tyre_psi, damage.lost_psi, state.tyre_c)
    true[13:17] = chassis.shaking_mps2(
        moment.trip.roughness, speed, car.wheel_gain, damage.bearing_mps2, noise[3:7]
    )
    true[17] = car.firmware
    return true


def _move(moment: Moment) -> F4:
    """Drive: foot, speed and slope change. Returns the force at the wheels, N."""
    car, state, trip, noise, dt_s = moment.car, moment.state, moment.trip, moment.noise, moment.dt_s
    state.foot[:] = driving.wobble(state.foot, noise[0], dt_s)
    state.speed[:], acceleration = driving.follow(
        state.speed, trip.target_mps, state.foot, car.comfort_mps2, dt_s
    )
    steepness = trips.HILLS[trip.road.astype(np.intp)]
    state.slope[:] = driving.grade(state.slope, steepness, state.speed, noise[1], dt_s)
    dragging: F4 = moment.damage.drag_n.sum(axis=0) * (state.speed > 0)
    return dragging + driving.wheel_force(
        mass=car.mass_kg,
        drag_area=car.drag_area_m2,
        rolling=car.rolling,
        speed=state.speed,
        acceleration=acceleration,
        slope=state.slope,
    )


def _draw_power(moment: Moment, force: F4) -> tuple[F4, F4, F4]:
    """Battery: its charge changes. Returns (heat of the motor W, voltage V, current A)."""
    car, state, dt_s = moment.car, moment.state, moment.dt_s
    speed = state.speed
    power_w, loss_w = powertrain.electric_power(force * speed, car.motor_loss, speed, moment.ambient_c)
    power_w -= trips.CHARGE_W * ((moment.trip.road == trips.CHARGING) & (speed == 0))
    open_v = powertrain.open_circuit_v(state.charge)
    resistance_ohm = car.resistance_ohm * moment.damage.resistance
    current = powertrain.current_a(power_w, open_v, resistance_ohm)
    capacity_as = car.capacity_as * moment.damage.capacity
    state.charge[:] = np.clip(state.charge - current * (dt_s / capacity_as), 0.02, 1)
    return loss_w, open_v - current * resistance_ohm, current


def _cool(moment: Moment, loss_w: F4) -> F4:
    """Coolant and intake air: their temperatures change. Returns the air's speed in the duct, m/s."""
    car, state, damage, dt_s = moment.car, moment.state, moment.damage, moment.dt_s
    state.heat_w[:] = powertrain.relax(state.heat_w, loss_w, dt_s, powertrain.HEAT_SPREADS_S)
    air_mps = powertrain.air_speed_mps(state.speed, state.coolant_c, car.opens_at_c, damage.filter_pass)
    warmed_c = powertrain.air_warmed_c(moment.ambient_c, state.coolant_c, air_mps)
    state.air_c[:] = powertrain.relax(state.air_c, warmed_c, dt_s, powertrain.AIR_SENSOR_S)
    state.coolant_c[:] = powertrain.coolant_after(
        coolant_c=state.coolant_c,
        heat_w=state.heat_w,
        ambient_c=moment.ambient_c,
        air_mps=air_mps,
        opens_at=car.opens_at_c,
        radiator=car.radiator_wpk * damage.coolant_kept,
        capacity=car.heat_capacity_jpk,
        dt_s=dt_s,
    )
    return air_mps
