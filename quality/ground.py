"""A seed's fleet: its parts, their samples on disk, and the truth about the test cars.

The parts are disjoint cars of one fleet: training cars, calibration cars that set the thresholds, healthy and
faulty test cars, and healthy cars that change without a fault. The `spoilt` cars are faulty without anybody
knowing: the test of robustness puts them among the training and calibration cars.
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

# Each part begins at a car number of its own, so that parts share no cars, whatever their sizes.
_PART_CARS_MAX = 100_000
# A change begins after this share of the judged time.
_BEFORE_CHANGE = 0.25
_ROLL_OUT_H = 24.0
_COLD_K = 15.0


@dataclass(frozen=True)
class Ground:
    """A fleet's parts on disk, and the truth about its test cars."""

    settings: Settings
    seed: int
    folder: Path

    def part(self, name: str) -> Part:
        """The samples of a part."""
        return Part(self.folder / f"{name}.f4", self.settings.cars(name), self.settings.samples)

    def simulate(self, report: Callable[[str, float], None]) -> None:
        """Simulate and write the parts that have no file yet."""
        for name in PARTS:
            if not self.part(name).path.exists():
                self._simulate(name, report)

    def _simulate(self, name: str, report: Callable[[str, float], None]) -> None:
        def make(first: int, cars: int) -> Fleet:
            return self.fleet(name, first, cars)

        def progress(share: float) -> None:
            report(f"simulating {name} cars", share)

        samples.simulate(make, self.part(name), self.settings.interval_s, progress)

    def fleet(self, name: str, first: int = 0, cars: int | None = None) -> Fleet:
        """The cars first, first+1, … of a part, at second 0; all cars of the part by default."""
        return Fleet(
            seed=self.seed,
            first=self._first(name) + first,
            cars=cars or self.settings.cars(name),
            wear=self._wear(name),
            changes=self._changes(name),
        )

    def failures(self) -> tuple[list[Failure], list[Failure]]:
        """(all faults of the faulty test cars, those that count as failures to foresee)."""
        fleet = self.fleet("faulty")
        every = truth.failures(fleet.plan, fleet.first)
        return every, truth.counted(every, from_s=self._learned_s, to_s=self.settings.hours * HOUR_S)

    def changes_from_s(self, name: str) -> float:
        """From which second on alarms of a part count as alarms during its change."""
        if name not in CHANGES or name == "new_model":
            return self._learned_s
        return self._learned_s + _BEFORE_CHANGE * (self.settings.hours * HOUR_S - self._learned_s)

    @property
    def _learned_s(self) -> float:
        return self.settings.learning_h * HOUR_S

    def _first(self, name: str) -> int:
        return PARTS.index(name) * _PART_CARS_MAX

    def _wear(self, name: str) -> Wear:
        """Faults of test cars begin after the learning period, those of spoilt cars at any time."""
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
