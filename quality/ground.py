"""A seed's fleet: which cars are for what, their samples on disk, and the truth about them.

The parts are disjoint cars of one fleet: those that are learned from, those that set the thresholds, healthy
and faulty test cars, and healthy cars to which something legitimate happens. `spoilt` cars are faulty ones
that nobody noticed: the test of robustness puts them among the cars that are learned from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quality import samples, truth
from quality.samples import Part
from quality.settings import CHANGES, HOUR_S, PARTS, Settings
from quality.truth import Failure
from simulator.changes import Changes
from simulator.faults import Wear
from simulator.fleet import Fleet

# The cars of a part begin at a number of their own: no part shares a car with another, whatever its size.
_PART_CARS_MAX = 100_000
# A change begins after this share of the time that counts.
_BEFORE_CHANGE = 0.25
_ROLL_OUT_H = 24.0
_COLD_K = 15.0


@dataclass(frozen=True)
class Ground:
    """A fleet's parts on disk, and the truth about its test cars."""

    told: Settings
    seed: int
    folder: Path

    def part(self, name: str) -> Part:
        """The samples of a part."""
        return Part(self.folder / f"{name}.f4", self.told.cars(name), self.told.samples)

    def simulate(self, tell: Callable[[str, float], None]) -> None:
        """Write what is not there yet."""
        for name in PARTS:
            if not self.part(name).path.exists():
                self._simulate(name, tell)

    def _simulate(self, name: str, tell: Callable[[str, float], None]) -> None:
        def make(first: int, cars: int) -> Fleet:
            return self.fleet(name, first, cars)

        def heard(share: float) -> None:
            tell(f"simulating {name} cars", share)

        samples.simulate(make, self.part(name), self.told.interval_s, heard)

    def fleet(self, name: str, first: int = 0, cars: int | None = None) -> Fleet:
        """The cars first, first+1, … of a part, at second 0."""
        return Fleet(
            seed=self.seed,
            first=self._first(name) + first,
            cars=cars or self.told.cars(name),
            wear=self._wear(name),
            changes=self._changes(name),
        )

    def failures(self) -> tuple[list[Failure], list[Failure]]:
        """(all faults of the faulty test cars, those that a detector is asked about)."""
        fleet = self.fleet("faulty")
        every = truth.failures(fleet.plan, fleet.first)
        return every, truth.counted(every, from_s=self._learned_s, to_s=self.told.hours * HOUR_S)

    def changes_from_s(self, name: str) -> float:
        """From when on alarms of a part count as alarms during its change."""
        if name not in CHANGES or name == "new_model":
            return self._learned_s
        return self._learned_s + _BEFORE_CHANGE * (self.told.hours * HOUR_S - self._learned_s)

    @property
    def _learned_s(self) -> float:
        return self.told.learning_h * HOUR_S

    def _first(self, name: str) -> int:
        return PARTS.index(name) * _PART_CARS_MAX

    def _wear(self, name: str) -> Wear:
        """Test cars fail after the learning period; nobody knows since when the spoilt ones do."""
        learned_s = self._learned_s if name == "faulty" else 0.0
        return Wear(share=float(name in ("faulty", "spoilt")), healthy_s=learned_s)

    def _changes(self, name: str) -> Changes:
        at_s = self.changes_from_s(name)
        if name == "firmware":
            return Changes(firmware_share=1.0, firmware_at_s=at_s, firmware_over_s=_ROLL_OUT_H * HOUR_S)
        if name == "cold_snap":
            return Changes(cold_k=_COLD_K, cold_at_s=at_s)
        if name == "new_model":
            return Changes(new_model_from=self._first(name))
        return Changes()
