"""Slices of the log as the trainer reads them: a fleet's next hours, sound or spoilt."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from contract.telemetry import SIGNALS, Floats
from quality.life.replayed import INTERVAL_S, driven
from simulator.cars import car_id
from simulator.fleet import Fleet
from simulator.scenario import Scenario
from trainer.judge.exam import Exam
from trainer.log_slice import Telemetry, ordered
from trainer.reading import Slice

CARS, SOUND_CARS, HOURS = 240, 60, 12
_SAMPLES = round(HOURS * 3600 / INTERVAL_S)
_BEGAN_MS = 1_790_000_000_000
_WINTER_DAY = 15.0


@dataclass(frozen=True)
class World:
    """A fleet, and what its hours after the champion was published would look like."""

    seed: int

    def first(self) -> Slice:
        """The hours that the champion learns from."""
        return _slice(driven(self.fleet(), _SAMPLES))

    def slice(self, *, other: int = 0, **scenario: Any) -> Slice:
        """The hours after them, of healthy cars if `scenario` does not say else; `other`: of other cars."""
        return _slice(driven(self.fleet(other=other, **scenario), _SAMPLES, HOURS * 3600))

    def sound_cars(self) -> Exam:
        """Healthy cars that no slice has, in which deviations grow."""
        telemetry = _slice(driven(self.fleet(CARS, SOUND_CARS), _SAMPLES, HOURS * 3600)).telemetry
        return Exam(
            signals=SIGNALS,
            cars=telemetry.cars,
            seed=self.seed,
            judged_from=1,
            interval_s=INTERVAL_S,
            calibration=telemetry.signals[:0],
            calibration_car=telemetry.car[:0],
            healthy=telemetry.signals,
            healthy_car=telemetry.car,
            reported=None,
        )

    def fleet(self, first: int = 0, cars: int | None = None, *, other: int = 0, **scenario: Any) -> Fleet:
        """The cars first, first + 1, …"""
        given = {"faulty_share": 0.0} | scenario
        return Fleet(seed=self.seed + other, first=first, cars=cars or CARS, scenario=Scenario(**given))


def _slice(signals: Floats) -> Slice:
    """What the trainer reads of signals (cars, samples, K)."""
    cars, samples, count = signals.shape
    seq = np.tile(np.arange(1, samples + 1), cars)
    telemetry = Telemetry(
        cars=tuple(car_id(number).encode() for number in range(cars)),
        car=np.repeat(np.arange(cars, dtype=np.int32), samples),
        seq=seq,
        sampled_at_ms=_BEGAN_MS + seq * round(1000 * INTERVAL_S),
        signals=signals.reshape(-1, count),
    )
    return Slice(telemetry, [], {})


def _changed(data: Slice, **columns: Callable[[Floats], Any]) -> Slice:
    """The slice with some signals as functions of their values."""
    signals = data.telemetry.signals.copy()
    for name, function in columns.items():
        signals[:, SIGNALS.index(name)] = function(signals[:, SIGNALS.index(name)])
    return replace(data, telemetry=replace(data.telemetry, signals=signals))


TYRES = tuple(name for name in SIGNALS if name.startswith("tire_pressure"))
TEMPERATURES = tuple(name for name in SIGNALS if name.endswith("_temp"))


def zero_voltage(world: World) -> Slice:
    """A broken gateway sends 0 V for all cars."""
    return _changed(world.slice(), battery_voltage=np.zeros_like)


def constant_tyres(world: World) -> Slice:
    """All tyres have 33 psi in every sample."""
    return _changed(world.slice(), **dict.fromkeys(TYRES, lambda psi: np.full_like(psi, 33)))


def speed_in_km_h(world: World) -> Slice:
    """A gateway sends km/h as m/s."""
    return _changed(world.slice(), speed=lambda mps: 3.6 * mps)


def degrees_fahrenheit(world: World) -> Slice:
    """A gateway sends °F as °C."""
    return _changed(world.slice(), **dict.fromkeys(TEMPERATURES, lambda celsius: 1.8 * celsius + 32))


def shuffled_signals(world: World) -> Slice:
    """Every signal stands in another one's column."""
    data = world.slice()
    order = np.roll(np.random.default_rng(world.seed).permutation(len(SIGNALS)), 1)
    return replace(data, telemetry=replace(data.telemetry, signals=data.telemetry.signals[:, order]))


def swapped_tyres(world: World) -> Slice:
    """Front left and rear right are exchanged in all cars."""
    data = world.slice()
    first, last = SIGNALS.index(TYRES[0]), SIGNALS.index(TYRES[-1])
    signals = data.telemetry.signals.copy()
    signals[:, [first, last]] = signals[:, [last, first]]
    return replace(data, telemetry=replace(data.telemetry, signals=signals))


def one_gateway(world: World) -> Slice:
    """Only the cars in the warmer places are heard, three of five."""
    telemetry = world.slice().telemetry
    climate = world.fleet().parameters.climate_c
    heard = climate >= np.quantile(climate, 0.4)
    rows = np.flatnonzero(heard[telemetry.car])
    return Slice(_rows(telemetry, rows, telemetry.car[rows]), [], {})


def doubled_ids(world: World) -> Slice:
    """Two cars share each id: their samples alternate."""
    telemetry = world.slice().telemetry
    rows = np.flatnonzero((telemetry.car + telemetry.seq) % 2)
    return Slice(_rows(telemetry, rows, telemetry.car[rows] // 2 * 2), [], {})


def _rows(telemetry: Telemetry, rows: Any, car: Any) -> Telemetry:
    """These rows (n,), of these cars (n,), as the trainer orders them."""
    numbers, car = np.unique(car, return_inverse=True)
    return ordered(
        Telemetry(
            cars=tuple(telemetry.cars[number] for number in numbers),
            car=car.astype(np.int32),
            seq=telemetry.seq[rows],
            sampled_at_ms=telemetry.sampled_at_ms[rows],
            signals=telemetry.signals[rows],
        )
    )


def unreported_faults(world: World) -> Slice:
    """30 % of the cars have faults that no workshop has reported."""
    return world.slice(faulty_share=0.3)


def fast_clocks(world: World) -> Slice:
    """All clocks run ten times too fast, so a car seems learned after a tenth of the samples."""
    data = world.slice()
    at_ms = _BEGAN_MS + 10 * (data.telemetry.sampled_at_ms - _BEGAN_MS)
    return replace(data, telemetry=replace(data.telemetry, sampled_at_ms=at_ms))


def next_hours(world: World) -> Slice:
    """Nothing has changed."""
    return world.slice()


def winter(world: World) -> Slice:
    """Nothing has changed but the season: January."""
    return world.slice(first_day=_WINTER_DAY)


def other_cars(world: World) -> Slice:
    """Another fleet of the same vehicle models."""
    return world.slice(other=1000)


def recalibrated_voltage(world: World) -> Slice:
    """A new firmware of the sensor reads 1 % more in all cars."""
    return _changed(world.slice(), battery_voltage=lambda volt: 1.01 * volt)


def new_vehicle_model(world: World) -> Slice:
    """A fifth of the cars is of a model that the champion has not seen."""
    return world.slice(new_model_from=4 * CARS // 5)


def broken_sensors(world: World) -> Slice:
    """Two cars send 0 V all the time: fewer values than the bounds allow."""
    data = world.slice()
    broken = data.telemetry.car < 2
    return _changed(data, battery_voltage=lambda volt: np.where(broken, 0, volt))


Make = Callable[[World], Slice]
POISONED: tuple[Make, ...] = (
    zero_voltage,
    constant_tyres,
    speed_in_km_h,
    degrees_fahrenheit,
    shuffled_signals,
    swapped_tyres,
    one_gateway,
    doubled_ids,
    unreported_faults,
    fast_clocks,
)
SOUND: tuple[Make, ...] = (
    next_hours,
    winter,
    other_cars,
    recalibrated_voltage,
    new_vehicle_model,
    broken_sensors,
)
