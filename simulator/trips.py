"""Trips: a trip is on one kind of road and consists of legs, each with a target speed, and of stops.

Mean speeds and shares of standing time are close to published cycles. City: the low and medium phases of the
WLTC (class 3b, UN GTR No. 15: 27.7 km/h, 19 % standing). Rural: the high phase of the WLTC (56.5 km/h, 7 %)
and the rural Artemis cycle (André 2004: 57.5 km/h, 3 %). Highway: the Artemis motorway cycle (96.9 km/h,
2 %).
Between two trips a car is parked: it sends no telemetry, and its clock moves on by the time parked.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from simulator import chance
from simulator.cars import DAY_S, CarParameters, PerCar
from simulator.chance import F4, F8, U8

# One entry per kind of road: city, rural, highway; then charging, a stay at a fast charger.
CITY, RURAL, HIGHWAY, CHARGING = range(4)
_SHARE = np.cumsum([0.5, 0.3, 0.2])[:-1]  # of the trips
_CRUISE_MPS = np.array([11.0, 17.5, 28.5, 0.0], np.float32)
_CRUISE_SPREAD = np.array([0.25, 0.18, 0.10, 0.0], np.float32)
_STOP_SHARE = np.array([0.40, 0.22, 0.10, 1.0], np.float32)  # of the legs
_STOP_S, _STOP_MIN_S = 14.0, 3.0
_LEG_S = np.array([30.0, 70.0, 150.0, 1e9], np.float32)
_TRIP_S = np.array([900.0, 1500.0, 2400.0, 1e9], np.float32)
# By ISO 8608 a class of roads has twice the amplitude of the next better one.
_ROUGHNESS = np.array([1.6, 1.1, 0.6, 1.0], np.float32)
HILLS = np.array([0.015, 0.025, 0.012, 0.0], np.float32)  # standard deviation of the grade

# Passengers and luggage of a trip: 1.5 people per car (MiD 2017), the driver counts as the car's mass.
_LOAD_KG, _LOAD_MAX_KG = 60.0, 350.0
# A car is parked for 23 of 24 hours (MiD 2017: 46 minutes of driving a day): with trips of half an hour, 8 h
# on average between two of them.
_PARKED_S, _PARKED_SPREAD, _PARKED_MAX_S = 4 * 3600.0, 1.2, 7 * DAY_S
_LOGISTIC = 3**0.5 / np.pi  # scales a standard logistic variable to a standard deviation of 1

# State of charge. Cars with a wallbox charge at home while parked; the others go to a fast charger at the end
# of a trip. Every car goes there at once below CHARGE_AT_ONCE_BELOW.
CHARGE_BELOW, CHARGE_AT_ONCE_BELOW, CHARGE_UNTIL = 0.30, 0.12, 0.80
CHARGE_W, WALLBOX_W = 75_000.0, 11_000.0
WALLBOX_BELOW = 0.55

_PURPOSE = 16


@dataclass
class Trips(PerCar):
    """Trips of n cars; arrays (n,) float32."""

    road: F4  # CITY … CHARGING
    trip_left_s: F4
    leg_left_s: F4
    target_mps: F4
    roughness: F4  # of the road surface; 1 is average
    load_kg: F4  # passengers and luggage
    parked_s: F4  # total time parked, plus the time of day at which the car began


def start(keys: U8, car: CarParameters, charge: F4) -> Trips:
    """Trips of cars that are in the middle of one; some are at a fast charger, as in the steady state."""
    u = chance.uniforms(keys, _PURPOSE, 5)
    road = np.where(u[0] < 0.12 * (1 - car.wallbox), CHARGING, np.searchsorted(_SHARE, u[1]))
    trips = Trips(*[np.zeros(len(keys), np.float32) for _ in fields(Trips)])
    trips.road[:] = road
    trips.trip_left_s[:] = np.where(road == CHARGING, _charging_s(charge, car.energy_j), _TRIP_S[road] * u[2])
    trips.load_kg[:] = _loads_kg(u[3])
    trips.parked_s[:] = DAY_S * u[4]
    _draw_legs(trips, np.arange(len(keys)), road, chance.uniforms(keys, _PURPOSE + 1, 4))
    return trips


def ending(trips: Trips, dt_s: float) -> tuple[NDArray[np.intp], F4]:
    """Let dt_s pass. (cars whose leg or trip ends within it (m,), seconds left of the step then (m,))."""
    trips.leg_left_s -= dt_s
    trips.trip_left_s -= dt_s
    left_s = np.minimum(trips.leg_left_s, trips.trip_left_s)
    due = np.flatnonzero(left_s <= 0)
    return due, np.minimum(-left_s[due], np.float32(dt_s))


def go_on(
    trips: Trips, due: NDArray[np.intp], *, keys: U8, car: CarParameters, charge: F4, now_ms: int
) -> F4:
    """Begin the next leg or trip of the cars `due` (m,). Returns the seconds parked before it (m,).

    `charge` (n,) is the state of charge, 0 to 1; a wallbox raises it while a car is parked.
    """
    u = chance.dice(keys[due], now_ms, 8)
    empty = (charge[due] < CHARGE_AT_ONCE_BELOW) & (trips.road[due] != CHARGING)
    over = np.flatnonzero((trips.trip_left_s[due] <= 0) | empty)
    parked_s = np.zeros(len(due), np.float32)
    if over.size:
        parked_s[over] = _next_trip(trips, due[over], car, charge, u[4:, over])
    _draw_legs(trips, due, trips.road[due].astype(np.intp), u[:4])
    trips.target_mps[due] *= car.haste[due]
    return parked_s


def _next_trip(trips: Trips, over: NDArray[np.intp], car: CarParameters, charge: F4, u: F4) -> F4:
    """Begin a trip or a stay at a charger of the cars `over` (m,), from u (5, m). Seconds parked (m,)."""
    left, wallbox, energy_j = charge[over], car.wallbox[over] > 0, car.energy_j[over]
    plug_in = left < np.where(wallbox, CHARGE_AT_ONCE_BELOW, CHARGE_BELOW)
    # A car drives to a charger, and from it, without being parked: charging is a part of the journey.
    leaves = ~plug_in & (trips.road[over] != CHARGING)
    lasts_s = _PARKED_S * np.exp(_LOGISTIC * _PARKED_SPREAD * np.log(u[2] / (1 - u[2])))
    parked_s: F4 = np.where(leaves, np.minimum(lasts_s, _PARKED_MAX_S), 0).astype(np.float32)
    trips.parked_s[over] += parked_s
    trips.load_kg[over] = np.where(leaves, _loads_kg(u[3]), trips.load_kg[over])
    full = np.minimum(left + parked_s * (WALLBOX_W / energy_j), CHARGE_UNTIL)
    charge[over] = np.where(leaves & wallbox & (left < WALLBOX_BELOW), full, left)
    road = np.where(plug_in, CHARGING, np.searchsorted(_SHARE, u[0]))
    trips.road[over] = road
    drive_s = _TRIP_S[road] * (0.3 - 0.7 * np.log(u[1]))
    trips.trip_left_s[over] = np.where(plug_in, _charging_s(left, energy_j), drive_s)
    return parked_s


def _charging_s(charge: F4, energy_j: F4) -> F4:
    """Duration of a stay at the charger."""
    seconds: F4 = np.maximum(CHARGE_UNTIL - charge, 0.02) * energy_j * (1 / CHARGE_W)
    return seconds


def _loads_kg(u: F8) -> F8:
    return np.minimum(-_LOAD_KG * np.log(u), _LOAD_MAX_KG)


def _draw_legs(trips: Trips, due: NDArray[np.intp], road: NDArray[np.intp], u: F8) -> None:
    """Begin new legs of the cars `due` on their `road` (m,), from u (4, m) uniform in (0, 1)."""
    stop = u[0] < _STOP_SHARE[road]
    cruise_mps = _CRUISE_MPS[road] * (1 + _CRUISE_SPREAD[road] * 3.46 * (u[1] - 0.5))
    trips.target_mps[due] = np.where(stop, 0.0, cruise_mps)
    length_s = np.where(stop & (road != CHARGING), _STOP_S, _LEG_S[road])
    trips.leg_left_s[due] = _STOP_MIN_S - length_s * np.log(u[2])
    trips.roughness[due] = _ROUGHNESS[road] * np.exp(0.6 * (u[3] - 0.5))
