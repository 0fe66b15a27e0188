"""What happens to the cars of a fleet: the season, faults, and changes that are no faults."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import SIGNALS
from plumbing.settings import setting
from simulator.chance import F4

NEVER = 1_000_000  # above every car number


@dataclass(frozen=True)
class Scenario:
    """A part of the settings. By default some components wear out and nothing else changes."""

    faulty_share: float = setting(
        "share of the cars that are prone to faults, 0 to 1", default=0.05, least=0, most=1
    )
    ageing: float = setting(
        "how much faster than in reality components wear; does not change the driving", default=1.0, above=0
    )
    healthy_s: float = setting("no fault begins in this many first seconds of the run", default=0.0, least=0)
    fault_spread_h: float = setting(
        "the next fault of a car prone to faults begins within this many hours (divided by --ageing)",
        default=24.0,
        least=0,
    )
    first_day: float = setting(
        "day of the year on which the run begins, which determines the season",
        default=120.0,  # the end of April, when the temperature is near the mean of the year
        least=0,
    )
    firmware_share: float = setting(
        "share of the cars that get the next firmware, 0 to 1", default=0.0, least=0, most=1
    )
    firmware_at_s: float = setting(
        "second of the run at which the first car gets the next firmware", default=0.0, least=0
    )
    firmware_over_s: float = setting(
        "seconds until the last car gets the next firmware", default=0.0, least=0
    )
    cold_k: float = setting("cold snap: kelvin by which the air gets colder", default=0.0)
    cold_at_s: float = setting("second of the run at which the cold snap begins", default=0.0, least=0)
    cold_over_s: float = setting(
        "seconds in which the air gets colder, and later warmer again", default=21600.0, least=0
    )
    cold_for_s: float = setting("seconds for which the air stays cold", default=172800.0, least=0)
    new_model_from: int = setting(
        "cars from this number on are of a model that is new in the fleet", default=NEVER, least=0
    )

    recalibrated: float = setting(
        "share of the cars that get a sensor that reads otherwise, which is no fault, 0 to 1",
        default=0.0,
        least=0,
        most=1,
    )
    recalibrated_at_s: float = setting(
        "second of the run at which they get it, for good", default=0.0, least=0
    )
    recalibrated_signal: str = setting("signal of that sensor", default="battery_voltage")
    recalibrated_factor: float = setting(
        "what that sensor reads, over what it read before", default=1.01, above=0
    )
    gateway_zeros: float = setting(
        "share of the cars whose gateway breaks and sends 0 for battery_voltage, 0 to 1",
        default=0.0,
        least=0,
        most=1,
    )
    gateway_zeros_at_s: float = setting(
        "second of the run from which on broken gateways send 0", default=0.0, least=0
    )

    def __post_init__(self) -> None:
        if self.recalibrated_signal not in SIGNALS:
            raise ValueError(
                f"--recalibrated-signal {self.recalibrated_signal!r} is none of {', '.join(SIGNALS)}"
            )

    def recalibration(self, turn: F4, now_s: float) -> F4:
        """(n,) factor on what the sensor of a car measures at now_s; turn (n,), 0 to 1, is its order."""
        begun = now_s >= self.recalibrated_at_s
        factor: F4 = np.where(begun & (turn <= self.recalibrated), self.recalibrated_factor, 1).astype("f4")
        return factor

    def zeroed(self, turn: F4, now_s: float) -> NDArray[np.bool_]:
        """(n,) whether a car's gateway sends 0 at now_s; turn (n,), 0 to 1, is its order."""
        zeroed: NDArray[np.bool_] = (turn <= self.gateway_zeros) & (now_s >= self.gateway_zeros_at_s)
        return zeroed

    def updated(self, turn: F4, now_s: float) -> F4:
        """(n,) 1 where a car has the next firmware at now_s, else 0; turn (n,), 0 to 1, is its order."""
        since_s = now_s - self.firmware_at_s
        done = 0.0 if since_s < 0 else min(1.0, since_s / max(self.firmware_over_s, 1e-9))
        updated: F4 = (turn < self.firmware_share * done).astype("f4")
        return updated

    def colder_k(self, now_s: float) -> float:
        """Kelvin by which the cold snap lowers the air temperature at now_s."""
        since_s = now_s - self.cold_at_s
        left_s = 2 * self.cold_over_s + self.cold_for_s - since_s
        return self.cold_k * min(1.0, max(0.0, min(since_s, left_s) / max(self.cold_over_s, 1e-9)))
