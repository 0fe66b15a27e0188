"""Legitimate changes of a fleet, which are no faults: new firmware, a cold snap, a new car model."""

from dataclasses import dataclass

from simulator.chance import F4

NEVER = 1_000_000  # above every car number


@dataclass(frozen=True)
class Changes:
    """The changes of a run, none by default. Times are in seconds of the run."""

    firmware_share: float = 0.0  # share of the cars that get cars.FIRMWARE_NEXT, one after the other
    firmware_at_s: float = 0.0  # time at which the first car gets it
    firmware_over_s: float = 0.0  # duration of the roll-out
    cold_k: float = 0.0  # temperature drop of the cold snap
    cold_at_s: float = 0.0  # time at which the temperature begins to fall
    cold_over_s: float = 6 * 3600.0  # duration of the fall, and of the rise afterwards
    cold_for_s: float = 48 * 3600.0  # duration at the lowest temperature
    new_model_from: int = NEVER  # cars from this number on are of the newest model

    def updated(self, turn: F4, now_s: float) -> F4:
        """(n,) 1 where a car has the new firmware, else 0; turn (n,), 0 to 1, is the roll-out order."""
        since_s = now_s - self.firmware_at_s
        done = 0.0 if since_s < 0 else min(1.0, since_s / max(self.firmware_over_s, 1e-9))
        updated: F4 = (turn < self.firmware_share * done).astype("f4")
        return updated

    def colder_k(self, now_s: float) -> float:
        """Kelvin by which the cold snap lowers the air temperature."""
        since_s = now_s - self.cold_at_s
        left_s = 2 * self.cold_over_s + self.cold_for_s - since_s
        return self.cold_k * min(1.0, max(0.0, min(since_s, left_s) / max(self.cold_over_s, 1e-9)))
