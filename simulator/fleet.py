"""The physics of a fleet: one time step composes trips, driving, powertrain, chassis, faults and sensors."""

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import SIGNALS
from simulator import cars as car_parameters
from simulator import chance, chassis, driving, powertrain, sensors, trips
from simulator.cars import DAY_S, CarParameters
from simulator.chance import F4, U8
from simulator.driving import SENSOR_NOISE, DrivingState, TimeStep
from simulator.faults import Damage, FaultPlan
from simulator.scenario import Scenario
from simulator.trips import Trips

_CHUNK_CARS = 1024  # their arrays stay in a core's cache
_VOLTAGE = SIGNALS.index("battery_voltage")
_NOISES = SENSOR_NOISE.start + len(SIGNALS)
_WARM_UP_STEP_S, _WARM_UP_STEPS = 20.0, 30  # ten minutes: longer than a leg


class Fleet:
    """The cars first … first+cars-1 of this seed; a car does not depend on how the fleet is split."""

    def __init__(
        self,
        *,
        seed: int,
        first: int,
        cars: int,
        scenario: Scenario,
        now_s: float = 0.0,
    ) -> None:
        """Begin at second now_s of the run."""
        self.first, self.cars, self._scenario = first, cars, scenario
        self._keys = chance.keys(seed, first, cars)
        self.plan = FaultPlan(self._keys, first, scenario)
        self.model = car_parameters.models(self._keys, first, scenario.new_model_from)  # in cars.MODELS
        self.parameters = car_parameters.draw(
            self._keys, self.model, sensors.GAIN_SPREAD, sensors.BIAS_SPREAD
        )
        self._held: F4 = np.full(len(self.plan.car), np.nan, np.float32)  # see sensors.stick
        charge = (0.25 + 0.5 * chance.uniforms(self._keys, 0, 1)[0]).astype(np.float32)
        self._trips = trips.start(self._keys, self.parameters, charge)
        self._state = self._warm_state(charge, now_s)
        for back in range(_WARM_UP_STEPS, 0, -1):
            self.step(slice(0, cars), now_s - back * _WARM_UP_STEP_S, _WARM_UP_STEP_S)

    def _warm_state(self, charge: F4, now_s: float) -> DrivingState:
        """State of cars in the middle of a trip, with about the temperatures of a car that is warmed up."""
        car, road = self.parameters, self._trips.road.astype(np.intp)
        tyre_warming_k = chassis.WARMING_K_PER_MPS * np.array([6, 14, 24, 6], np.float32)[road]
        air_c = self._air_c(car, self._trips, now_s)
        still = np.zeros(self.cars, np.float32)
        return DrivingState(
            speed=self._trips.target_mps * 1,
            foot=still * 1,
            sway_mps=still * 1,
            slope=still,
            charge=charge,
            battery_c=air_c + 6,
            heat_w=np.full(self.cars, 800, np.float32),
            coolant_c=car.opens_at_c - 5,
            air_c=air_c + 3,
            motor_c=car.opens_at_c + 10,
            tyre_c=np.tile(air_c + tyre_warming_k, (4, 1)),
        )

    def step(self, group: slice, now_s: float, dt_s: float) -> F4:
        """Let dt_s pass for the cars of `group` (start:stop within this fleet), ending at now_s of the run.

        Returns the readings of their sensors, (k, signals) in the order of SIGNALS. Time parked is skipped:
        the sample after a trip is from the beginning of the next one.
        """
        if group.stop - group.start <= _CHUNK_CARS:
            return self._step(group, now_s, dt_s)
        starts = range(group.start, group.stop, _CHUNK_CARS)
        parts = [self._step(slice(s, min(s + _CHUNK_CARS, group.stop)), now_s, dt_s) for s in starts]
        return np.concatenate(parts)

    def _step(self, group: slice, now_s: float, dt_s: float) -> F4:
        now_ms, keys = round(now_s * 1000), self._keys[group]
        faults = self.plan.active(group, now_s)
        car, trip, noise = self.parameters[group], self._trips[group], chance.noise(keys, now_ms, _NOISES)
        step = TimeStep(
            car=car,
            state=self._state[group],
            trip=trip,
            damage=Damage(faults, len(keys)),
            updated=self._scenario.updated(car.turn, now_s),
            noise=noise,
            dt_s=dt_s,
        )
        parked, parked_s = _end_legs(step, keys, now_ms)
        step.ambient_c = self._air_c(car, trip, now_s)
        _cool_down(step, parked, parked_s)
        true = _signals(step)
        drifting, sensor = faults.of_kind("sensor_drift")
        if sensor.size:
            sensors.drift(true, drifting, sensor, self.plan.upwards)
        scenario = self._scenario
        if scenario.recalibrated:
            true[SIGNALS.index(scenario.recalibrated_signal)] *= scenario.recalibration(
                car.sensor_turn, now_s
            )
        readings = sensors.read(true, car.gain, car.bias, noise[SENSOR_NOISE])
        stuck, sensor = faults.of_kind("sensor_stuck")
        if sensor.size:
            sensors.stick(readings, stuck, sensor, self.plan.out_of_contact(stuck, now_s), self._held)
        if scenario.gateway_zeros:
            readings[scenario.zeroed(car.gateway_turn, now_s), _VOLTAGE] = 0
        return readings

    def _air_c(self, car: CarParameters, trip: Trips, now_s: float) -> F4:
        day = self._scenario.first_day + (now_s + trip.parked_s) * (1 / DAY_S)
        return car.ambient_c(day) - self._scenario.colder_k(now_s)


def _end_legs(step: TimeStep, keys: U8, now_ms: int) -> tuple[NDArray[np.intp], F4]:
    """Drive to the end of legs and trips that end within the step and begin the next ones.

    Returns (cars that were parked in between (m,), for how many seconds (m,)).
    """
    car, state, trip = step.car, step.state, step.trip
    due, rest_s = trips.ending(trip, step.dt_s)
    if not due.size:
        return due, rest_s
    state.speed[due], _ = driving.follow(
        state.speed[due], trip.target_mps[due], car.comfort_mps2[due], step.dt_s - rest_s
    )
    step.driven_s[due] = rest_s
    parked_s = trips.go_on(trip, due, keys=keys, car=car, charge=state.charge, now_ms=now_ms)
    trip.leg_left_s[due] -= rest_s
    was_parked = parked_s > 0
    return due[was_parked], parked_s[was_parked]


def _cool_down(step: TimeStep, parked: NDArray[np.intp], parked_s: F4) -> None:
    """Let the cars `parked` (m,) cool down for parked_s (m,) seconds; they stand and are about to set off."""
    if not parked.size:
        return
    state, ambient_c = step.state, step.ambient_c[parked]
    state.speed[parked] = 0
    state.heat_w[parked] = 0
    for temperature_c, tau_s in (
        (state.coolant_c, powertrain.MOTOR_COOLS_S),
        (state.motor_c, powertrain.MOTOR_COOLS_S),
        (state.battery_c, powertrain.BATTERY_COOLS_S),
        (state.air_c, powertrain.BAY_COOLS_S),
        *((tyre_c, chassis.TYRE_COOLS_S) for tyre_c in state.tyre_c),
    ):
        excess_k = temperature_c[parked] - ambient_c
        temperature_c[parked] = ambient_c + excess_k * np.exp(-parked_s / tau_s)


def _signals(step: TimeStep) -> F4:
    """Let the step pass. Returns the true values at its end, (signals, k) in the order of SIGNALS."""
    speed, force = driving.move(step)
    loss_w, voltage, current = powertrain.draw_power(step, force, speed)
    air_gps = powertrain.cool(step, loss_w, speed)
    true = np.full((len(SIGNALS), len(speed)), np.nan, np.float32)
    true[0] = powertrain.outlet_c(step)
    true[1] = step.state.air_c
    true[2] = air_gps
    true[3] = 100 * step.state.charge
    true[4] = voltage
    true[5] = current
    true[6] = speed
    true[7] = powertrain.vibration_mv(step, speed, force)
    true[8] = driving.pedal(step.car, force, speed)
    true[9:13] = chassis.tyre_psi(step, speed)
    true[13:17] = chassis.shaking_mps2(step, speed)
    true[17] = np.where(step.updated > 0, car_parameters.FIRMWARE_NEXT, step.car.firmware)
    true[18] = step.state.motor_c
    return true
