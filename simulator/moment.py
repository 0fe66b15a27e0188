"""A step of some cars: what they are, what changes, what acts on them."""

from dataclasses import dataclass, field

import numpy as np

from simulator import powertrain
from simulator.cars import Cars
from simulator.chance import F4
from simulator.faults import Damage
from simulator.trips import Trips


@dataclass
class State:
    """What changes while a car drives; arrays (n,) float32, tyre_c (4, n)."""

    speed: F4  # that the driver means; the foot's sway comes on top
    foot: F4
    sway_mps: F4
    slope: F4
    charge: F4  # of the battery, 0 to 1
    battery_c: F4
    heat_w: F4  # that reaches the coolant
    coolant_c: F4
    air_c: F4
    tyre_c: F4

    def __getitem__(self, group: slice) -> "State":
        """The same for a part of the cars: views."""
        return State(self.speed[group], self.foot[group], self.sway_mps[group], self.slope[group],
                     self.charge[group], self.battery_c[group], self.heat_w[group], self.coolant_c[group],
                     self.air_c[group], self.tyre_c[:, group])  # fmt: skip


@dataclass
class Moment:
    """One step of k cars; the state and the trips change with it. Arrays (k,) float32."""

    car: Cars
    state: State
    trip: Trips
    damage: Damage
    updated: F4  # 1 where the next firmware runs
    noise: F4  # (rows, k)
    dt_s: float
    driven_s: F4 = field(init=False)  # of the step, towards the target speed at its end
    ambient_c: F4 = field(init=False)  # where the car is at the end of the step
    opens_at_c: F4 = field(init=False)  # the thermostat, under the firmware of now

    def __post_init__(self) -> None:
        self.driven_s = np.full(len(self.updated), self.dt_s, np.float32)
        self.opens_at_c = self.car.opens_at_c - powertrain.NEXT_COOLER_K * self.updated

    @property
    def mass_kg(self) -> F4:
        """Of the car and what it carries on this trip."""
        return self.car.mass_kg + self.trip.load_kg
