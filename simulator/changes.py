"""What changes a fleet without being a fault: a firmware version, a cold snap, a new car model."""

from dataclasses import dataclass
from typing import Any

from simulator.chance import F4

NEVER = 1_000_000  # the number of a car that no fleet has


@dataclass(frozen=True)
class Changes:
    """Legitimate changes, none by default. Times in seconds of the run."""

    firmware_share: float = 0.0  # of the cars get the new version (cars.FIRMWARE_NEXT), one after the other
    firmware_at_s: float = 0.0  # the first of them
    firmware_over_s: float = 0.0  # until the last of them
    cold_k: float = 0.0  # so far the air gets colder
    cold_at_s: float = 0.0
    cold_over_s: float = 6 * 3600.0  # falls for so long, and later rises again for so long
    cold_for_s: float = 48 * 3600.0  # stays so cold
    new_model_from: int = NEVER  # cars from this number on are of a model that the others are not

    def updated(self, turn: F4, now_s: float) -> F4:
        """(n,) 1 where a car with this turn (n,), 0 to 1, has the new firmware already, else 0."""
        since_s = now_s - self.firmware_at_s
        done = 0.0 if since_s < 0 else min(1.0, since_s / max(self.firmware_over_s, 1e-9))
        have: F4 = (turn < self.firmware_share * done).astype("f4")
        return have

    def colder_k(self, now_s: float) -> float:
        """Kelvin that the air is colder than the season says."""
        since_s = now_s - self.cold_at_s
        left_s = 2 * self.cold_over_s + self.cold_for_s - since_s
        return self.cold_k * min(1.0, max(0.0, min(since_s, left_s) / max(self.cold_over_s, 1e-9)))

    def periods(self) -> list[dict[str, Any]]:
        """Each change that takes place: {change, from_s, until_s, …}; until None: it stays."""
        told: list[dict[str, Any]] = []
        if self.firmware_share:
            until_s = self.firmware_at_s + self.firmware_over_s
            told.append({"change": "firmware", "from_s": self.firmware_at_s, "until_s": None,
                         "rolled_out_s": until_s, "share": self.firmware_share})  # fmt: skip
        if self.cold_k:
            until_s = self.cold_at_s + 2 * self.cold_over_s + self.cold_for_s
            told.append({"change": "cold_snap", "from_s": self.cold_at_s, "until_s": until_s,
                         "kelvin": self.cold_k})  # fmt: skip
        if self.new_model_from < NEVER:
            told.append({"change": "new_model", "from_s": 0.0, "until_s": None,
                         "from_car": self.new_model_from})  # fmt: skip
        return told
