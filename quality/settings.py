"""What a scorecard can be told, and how large its fleet is."""

from dataclasses import dataclass
from pathlib import Path

from contract.telemetry import SIGNALS
from plumbing.settings import setting
from quality.detectors import NAMES

HOUR_S = 3600.0
CHANGES = ("firmware", "cold_snap", "new_model")  # nothing of them is a fault
PARTS = ("training", "calibration", "healthy", "faulty", *CHANGES, "spoilt")
_SPOILT_SHARE = (
    0.01  # of the cars that are learned from are faulty and nobody knows, in the test of robustness
)
_QUICK = 4  # of the cars of each part one in so many, with --quick
_LIVE_H_MIN = 12.0  # less than this after the learning period and hardly a fault grows to its failure


@dataclass(frozen=True)
class Settings:
    """Flags, environment (QUALITY_…) or these defaults. The parts of the fleet are disjoint cars."""

    seeds: int = setting("how many fleets; each has its own cars, faults and models", default=4)
    first_seed: int = setting("the seeds are this one and the following", default=1)
    detectors: tuple[str, ...] = setting("which detectors, with commas", default=NAMES)
    quick: bool = setting("a quarter of the cars: for a look, not for figures", default=False)
    hours: float = setting("hours of telemetry of each car", default=100.0)
    interval_s: float = setting("seconds between two samples of a car", default=20.0)
    learning_h: float = setting(
        "hours in which a car's baseline is learned; nothing counts in them", default=8.0
    )
    memory_h: float = setting("hours over which the detectors with a memory remember", default=1.0)
    training_cars: int = setting("healthy cars to learn from", default=200)
    calibration_cars: int = setting("healthy cars that set the thresholds", default=300)
    healthy_cars: int = setting("healthy test cars: false alarms", default=300)
    faulty_cars: int = setting("test cars on which components fail, each two or three times", default=100)
    changed_cars: int = setting(
        "healthy test cars for each of: a new firmware, a cold snap, a new car model", default=60
    )
    spoilt: tuple[str, ...] = setting(
        "detectors that are also taught with 1 % of faulty cars among the healthy, with commas",
        default=("ours",),
    )
    processes: int = setting("seeds at a time, a process of 2.2 GiB each", default=2)
    keep_data: bool = setting(
        "keep the simulated samples in --run-dir and use them again while simulator and fleet are the same",
        default=False,
    )
    check: bool = setting("exit with status 1 where a goal is not reached", default=False)
    run_dir: Path = setting(
        "scorecard.json, plots, and while it runs the samples", default=Path("var/quality")
    )

    def __post_init__(self) -> None:
        for name in ("seeds", "interval_s", "learning_h", "memory_h", "processes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"--{name.replace('_', '-')} must be positive")
        for name in ("training_cars", "calibration_cars", "healthy_cars", "faulty_cars", "changed_cars"):
            if getattr(self, name) < 2 * _QUICK:
                raise ValueError(f"--{name.replace('_', '-')} must be at least {2 * _QUICK}")
        if self.hours < self.learning_h + _LIVE_H_MIN:
            raise ValueError(
                f"--hours {self.hours:g} leaves less than {_LIVE_H_MIN:g} h after --learning-h "
                f"{self.learning_h:g}: no fault could grow to its failure"
            )
        for name in ("detectors", "spoilt"):
            if unknown := [detector for detector in getattr(self, name) if detector not in NAMES]:
                raise ValueError(f"--{name}: {', '.join(unknown)} is none of {', '.join(NAMES)}")
        if not self.detectors:
            raise ValueError(f"--detectors must name at least one of {', '.join(NAMES)}")

    @property
    def samples(self) -> int:
        """Of each car."""
        return round(self.hours * HOUR_S / self.interval_s)

    @property
    def learning_samples(self) -> int:
        """Of each car, at its start."""
        return round(self.learning_h * HOUR_S / self.interval_s)

    @property
    def fleet(self) -> tuple[object, ...]:
        """All that says what the samples of a seed are."""
        cars = tuple(self.cars(part) for part in PARTS)
        return self.hours, self.interval_s, self.learning_h, cars

    @property
    def disk_bytes(self) -> int:
        """That the samples take at most."""
        at_once = self.seeds if self.keep_data else min(self.seeds, self.processes)
        return at_once * sum(self.cars(part) for part in PARTS) * self.samples * len(SIGNALS) * 4

    def cars(self, part: str) -> int:
        """How many cars a part has."""
        if part == "spoilt":
            return self.spoilt_cars("training") + self.spoilt_cars("calibration")
        cars: int = getattr(self, "changed_cars" if part in CHANGES else f"{part}_cars")
        return cars // _QUICK if self.quick else cars

    def spoilt_cars(self, part: str) -> int:
        """How many cars of a part are faulty in the test of robustness, at least one."""
        return max(1, round(_SPOILT_SHARE * self.cars(part)))
