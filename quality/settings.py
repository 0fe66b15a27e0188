"""The settings of a scorecard, and the size of its fleet."""

from dataclasses import dataclass
from pathlib import Path

from contract.telemetry import SIGNALS
from plumbing.settings import setting
from quality.detectors import NAMES

HOUR_S = 3600.0
CHANGES = ("firmware", "cold_snap", "new_model")  # none of them is a fault
# Change → the part of faulty test cars that go through it.
FAULTY_IN = {change: f"faulty_in_{change}" for change in CHANGES}
PARTS = ("training", "calibration", "healthy", "faulty", *CHANGES, "spoilt", "labelled", *FAULTY_IN.values())
_SPOILT_SHARE = 0.01  # share of faulty cars among the training cars in the test of robustness
_QUICK = 4  # with --quick each part has this many times fewer cars
_LIVE_H_MIN = 12.0  # with less time after the learning period hardly any fault grows to its failure


@dataclass(frozen=True)
class Settings:
    """Flags, environment (QUALITY_…) or these defaults. The parts of the fleet are disjoint cars.

    Only the faulty cars of the changes are the first faulty test cars once more: the same failures, so that
    what a change costs can be seen.
    """

    seeds: int = setting("number of fleets; each has its own cars, faults and models", default=4, least=1)
    first_seed: int = setting("first seed; the others follow it", default=1)
    detectors: tuple[str, ...] = setting("detectors, separated by commas", default=NAMES)
    quick: bool = setting("use a quarter of the cars: for a first look, not for figures", default=False)
    hours: float = setting("hours of telemetry of each car", default=100.0)
    interval_s: float = setting("seconds between two samples of a car", default=20.0, above=0)
    learning_h: float = setting(
        "hours in which a car's baseline is learned; they are not judged", default=8.0, above=0
    )
    memory_h: float = setting("hours over which detectors with a memory average", default=1.0, above=0)
    training_cars: int = setting("healthy cars to train on", default=200, least=2 * _QUICK)
    calibration_cars: int = setting("healthy cars that set the thresholds", default=300, least=2 * _QUICK)
    healthy_cars: int = setting("healthy test cars: false alarms", default=300, least=2 * _QUICK)
    faulty_cars: int = setting(
        "test cars whose components fail, two or three times each", default=100, least=2 * _QUICK
    )
    changed_cars: int = setting(
        "healthy test cars for each of: a new firmware, a cold snap, a new car model; half as many of the "
        "faulty test cars go through each as well",
        default=60,
        least=2 * _QUICK,
    )
    labelled_cars: int = setting(
        "faulty cars whose failures supervised detectors learn from", default=100, least=2 * _QUICK
    )
    spoilt: tuple[str, ...] = setting(
        "detectors that are also trained with 1 % of faulty cars among the healthy ones, separated by commas",
        default=("ours",),
    )
    processes: int = setting("seeds that run at a time, each a process of 2.2 GiB", default=2, least=1)
    keep_data: bool = setting(
        "keep the simulated samples in --run-dir and reuse them while simulator and fleet are unchanged",
        default=False,
    )
    check: bool = setting("exit with status 1 if a goal is not reached", default=False)
    run_dir: Path = setting(
        "folder for scorecard.json, plots, and the samples during the run", default=Path("var/quality")
    )

    def __post_init__(self) -> None:
        if self.hours < self.learning_h + _LIVE_H_MIN:
            raise ValueError(
                f"--hours {self.hours:g} leaves less than {_LIVE_H_MIN:g} h after --learning-h "
                f"{self.learning_h:g}: too little for a fault to grow to its failure"
            )
        for name in ("detectors", "spoilt"):
            if unknown := [detector for detector in getattr(self, name) if detector not in NAMES]:
                raise ValueError(
                    f"--{name}: unknown detector {', '.join(unknown)}; the detectors are {', '.join(NAMES)}"
                )
        if not self.detectors:
            raise ValueError(f"--detectors must name at least one of {', '.join(NAMES)}")

    @property
    def samples(self) -> int:
        """Samples of each car."""
        return round(self.hours * HOUR_S / self.interval_s)

    @property
    def learning_samples(self) -> int:
        """Samples in which a car is learned."""
        return round(self.learning_h * HOUR_S / self.interval_s)

    @property
    def fleet(self) -> tuple[object, ...]:
        """Everything that the samples of a seed depend on."""
        cars = tuple(self.cars(part) for part in PARTS)
        return self.hours, self.interval_s, self.learning_h, cars

    @property
    def disk_bytes(self) -> int:
        """Disk space that the samples take at most."""
        at_once = self.seeds if self.keep_data else min(self.seeds, self.processes)
        return at_once * sum(self.cars(part) for part in PARTS) * self.samples * len(SIGNALS) * 4

    def cars(self, part: str) -> int:
        """Number of cars of a part."""
        if part == "spoilt":
            return self.spoilt_cars("training") + self.spoilt_cars("calibration")
        if part in FAULTY_IN.values():
            return min(self.cars("faulty"), self.cars(CHANGES[0]) // 2)
        cars: int = getattr(self, "changed_cars" if part in CHANGES else f"{part}_cars")
        return cars // _QUICK if self.quick else cars

    def spoilt_cars(self, part: str) -> int:
        """Number of faulty cars among a part's in the test of robustness, at least one."""
        return max(1, round(_SPOILT_SHARE * self.cars(part)))
