"""Where a car drives: trips on one kind of road, made of legs with one target speed, stops between them.

A light generator whose shares of standing time and mean speeds are near those of the world harmonised cycle
(WLTC class 3, UN GTR No. 15: low 18.9 km/h with 26 % standing, medium 39.5, high 56.5, extra high 91.7 km/h).
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from simulator import chance
from simulator.cars import Cars
from simulator.chance import F4, F8, U8
from simulator.powertrain import NOMINAL_V

# One entry a kind of road: city, rural, highway. Then charging, which is a stay at a fast charger.
CITY, RURAL, HIGHWAY, CHARGING = range(4)
_SHARE = np.cumsum([0.5, 0.3, 0.2])[:-1]  # of trips
_CRUISE_MPS = np.array([11.0, 21.0, 32.0, 0.0], np.float32)
_CRUISE_SPREAD = np.array([0.25, 0.18, 0.10, 0.0], np.float32)
_STOP_SHARE = np.array([0.42, 0.12, 0.01, 1.0], np.float32)  # of the legs
_STOP_S, _STOP_MIN_S = 14.0, 3.0
_LEG_S = np.array([30.0, 70.0, 150.0, 1e9], np.float32)
_TRIP_S = np.array([900.0, 1500.0, 2400.0, 1e9], np.float32)
_ROUGHNESS = np.array(
    [1.6, 1.1, 0.6, 1.0], np.float32
)  # ISO 8608: a class is twice the amplitude of the next better one
HILLS = np.array([0.015, 0.025, 0.012, 0.0], np.float32)  # standard deviation of the grade

# State of charge: drivers plug in at the end of a trip, or at the next stop where little is left.
CHARGE_BELOW, CHARGE_AT_ONCE_BELOW, CHARGE_UNTIL = 0.30, 0.12, 0.80
CHARGE_W = 75_000.0

_PURPOSE = 16


@dataclass
class Trips:
    """State of the cars' trips, arrays (n,) float32."""

    road: F4  # CITY … CHARGING
    trip_left_s: F4
    leg_left_s: F4
    target_mps: F4
    roughness: F4  # of the road surface, 1 is an average one

    def __getitem__(self, group: slice) -> "Trips":
        """The same for a part of the cars: views."""
        return Trips(self.road[group], self.trip_left_s[group], self.leg_left_s[group],
                     self.target_mps[group], self.roughness[group])  # fmt: skip


def start(keys: U8, charge: F4, capacity_as: F4) -> Trips:
    """Cars in the middle of a trip; about one in seven at the charger, as in the long run."""
    u = chance.uniforms(keys, _PURPOSE, 3)
    road = np.where(u[0] < 0.14, CHARGING, np.searchsorted(_SHARE, u[1]))
    trips = Trips(*[np.zeros(len(keys), np.float32) for _ in fields(Trips)])
    trips.road[:] = road
    trips.trip_left_s[:] = np.where(road == CHARGING, _charging_s(charge, capacity_as), _TRIP_S[road] * u[2])
    _draw_legs(trips, np.arange(len(keys)), road, chance.uniforms(keys, _PURPOSE + 1, 4))
    return trips


def advance(trips: Trips, *, keys: U8, car: Cars, charge: F4, dt_s: float, now_ms: int) -> None:
    """Let dt_s pass: whose leg or trip is over gets the next one. `charge` is the battery's, 0 to 1."""
    trips.leg_left_s -= dt_s
    trips.trip_left_s -= dt_s
    due = np.flatnonzero(np.minimum(trips.leg_left_s, trips.trip_left_s) <= 0)
    if not due.size:
        return
    u = chance.dice(keys[due], now_ms, 6)
    road, left = trips.road[due].astype(np.intp), charge[due]
    over = (trips.trip_left_s[due] <= 0) | ((left < CHARGE_AT_ONCE_BELOW) & (road != CHARGING))
    plug_in = over & (left < CHARGE_BELOW)
    road = np.where(over, np.where(plug_in, CHARGING, np.searchsorted(_SHARE, u[4])), road)
    drive_s = _TRIP_S[road] * (0.3 - 0.7 * np.log(u[5]))
    trip_s = np.where(plug_in, _charging_s(left, car.capacity_as[due]), drive_s)
    trips.trip_left_s[due] = np.where(over, trip_s, trips.trip_left_s[due])
    trips.road[due] = road
    _draw_legs(trips, due, road, u[:4])
    trips.target_mps[due] *= car.haste[due]


def _charging_s(charge: F4, capacity_as: F4) -> F4:
    """How long a driver stays at the charger."""
    missing_as = np.maximum(CHARGE_UNTIL - charge, 0.02) * capacity_as
    return missing_as * (NOMINAL_V / CHARGE_W)


def _draw_legs(trips: Trips, due: NDArray[np.intp], road: NDArray[np.intp], u: F8) -> None:
    """New legs for the cars `due` on their `road` (m,), from u (4, m) uniform in (0, 1)."""
    stop = u[0] < _STOP_SHARE[road]
    wish = _CRUISE_MPS[road] * (1 + _CRUISE_SPREAD[road] * 3.46 * (u[1] - 0.5))
    trips.target_mps[due] = np.where(stop, 0.0, wish)
    length_s = np.where(stop & (road != CHARGING), _STOP_S, _LEG_S[road])
    trips.leg_left_s[due] = _STOP_MIN_S - length_s * np.log(u[2])
    trips.roughness[due] = _ROUGHNESS[road] * np.exp(0.6 * (u[3] - 0.5))
