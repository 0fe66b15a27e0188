"""One fleet from its cars to its figures: simulate, learn, set thresholds, ask about the test cars."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.alert_rule import AlertRule
from contract.telemetry import Floats
from quality import detectors, metrics, samples, truth
from quality.alerts import Levels
from quality.detectors import Detector, Lengths
from quality.metrics import Foresight
from quality.samples import Part
from quality.settings import HOUR_S, PARTS, Settings
from quality.truth import Failure
from simulator.faults import Wear
from simulator.fleet import Fleet

# The cars of a part begin at a number of their own: no part shares a car with another, whatever its size.
_PART_CARS_MAX = 100_000
_EXAMPLE_POINTS = 3_000
# For all detectors alike: one that asks every sample alone would drown in its own noise.
RULE = AlertRule(smoothing=0.1)

Tell = Callable[[str, float], None]  # what is being done, and which share of it is done


@dataclass(frozen=True)
class Answers:
    """What one detector said on one fleet."""

    foresights: tuple[Foresight, ...]  # in the order of metrics.CURVE
    auroc: float
    auroc_per_fault: Mapping[str, float]
    example_level: Floats  # of the example's car, every so many samples
    seconds: float

    def at(self, budget: float) -> Foresight:
        """The foresight at one of the budgets."""
        return self.foresights[metrics.CURVE.index(budget)]


@dataclass(frozen=True)
class Outcome:
    """One fleet's figures."""

    seed: int
    failures: tuple[Failure, ...]
    example: int  # which of the failures is drawn
    answers: Mapping[str, Answers]


@dataclass(frozen=True)
class Ground:
    """A fleet's parts on disk, and the truth about its test cars."""

    told: Settings
    seed: int
    folder: Path

    def part(self, name: str) -> Part:
        """The samples of a part."""
        return Part(self.folder / f"{name}.f4", self.told.cars(name), self.told.samples)

    def fleet(self, name: str, first: int = 0, cars: int | None = None) -> Fleet:
        """The cars first, first+1, … of a part, at second 0."""
        wear = Wear(share=float(name == "faulty"), healthy_s=self.told.learning_h * HOUR_S)
        start = PARTS.index(name) * _PART_CARS_MAX
        return Fleet(seed=self.seed, first=start + first, cars=cars or self.told.cars(name), wear=wear)

    def failures(self) -> tuple[list[Failure], list[Failure]]:
        """(all faults of the faulty cars, those that a detector is asked about)."""
        fleet = self.fleet("faulty")
        every = truth.failures(fleet.plan, fleet.first)
        learned_s = self.told.learning_h * HOUR_S
        return every, truth.counted(every, from_s=learned_s, to_s=self.told.hours * HOUR_S)


def run(told: Settings, seed: int, folder: Path, tell: Tell) -> Outcome:
    """All detectors on the fleet of this seed. Its samples lie in `folder`, afterwards only if told to keep.

    Raises ValueError where the fleet is too small to have a failure, or a detector says no number.
    """
    ground = Ground(told, seed, folder)
    try:
        for name in PARTS:
            if not ground.part(name).path.exists():
                heard = _heard(tell, f"simulating {name} cars")
                samples.simulate(_maker(ground, name), ground.part(name), told.interval_s, heard)
        every, asked = ground.failures()
        if not asked:
            raise ValueError("no component failed: give more --faulty-cars or more --hours")
        growth = np.array([failure.growth_h for failure in asked])
        example = int(np.argsort(growth)[len(growth) // 2])
        answers = {}
        for place, name in enumerate(told.detectors):
            heard = _heard(tell, name, (place + np.array([0, 1])) / len(told.detectors))
            answers[name] = _asked(ground, name, (every, asked), asked[example].car, heard)
        return Outcome(seed, tuple(asked), example, answers)
    finally:
        if not told.keep_data:
            shutil.rmtree(folder, ignore_errors=True)


def _maker(ground: Ground, name: str) -> Callable[[int, int], Fleet]:
    return lambda first, cars: ground.fleet(name, first, cars)


def _heard(
    tell: Tell, what: str, within: Sequence[float] | NDArray[np.float64] = (0, 1)
) -> Callable[[float], None]:
    start, stop = within
    return lambda share: tell(what, float(start + (stop - start) * share))


def _asked(
    ground: Ground,
    name: str,
    failures: tuple[list[Failure], list[Failure]],
    example_car: int,
    tell: Callable[[float], None],
) -> Answers:
    """One detector: fitted, its thresholds set, asked."""
    started = time.monotonic()
    told = ground.told
    memory = round(told.memory_h * HOUR_S / told.interval_s)
    detector = detectors.make(name, ground.seed, Lengths(told.learning_samples, memory))
    training = ground.part("training")
    detector.fit(training.read(0, training.cars))
    done = iter(np.linspace(0.3, 1, 3))
    scores = {}
    for part in ("calibration", "healthy", "faulty"):
        tell(float(next(done)))
        scores[part] = scored(detector, ground.part(part))
    levels = {
        part: Levels.of(score, told.learning_samples, told.interval_s, RULE) for part, score in scores.items()
    }
    every, asked = failures
    aurocs = _aurocs(scores["healthy"], scores["faulty"], every, told)
    whole = levels["faulty"].level[example_car]
    return Answers(
        foresights=tuple(_foresights(levels, asked)),
        auroc=aurocs.pop(""),
        auroc_per_fault=aurocs,
        example_level=whole[:: max(1, len(whole) // _EXAMPLE_POINTS)],
        seconds=time.monotonic() - started,
    )


def scored(detector: Detector, part: Part) -> Floats:
    """(cars, samples) of all cars of a part."""
    scores = np.empty((part.cars, part.samples), np.float32)
    for first, signals in part.groups():
        scores[first : first + len(signals)] = detector.score(signals)
    return scores


def _foresights(levels: Mapping[str, Levels], asked: Sequence[Failure]) -> Iterator[Foresight]:
    for budget in metrics.CURVE:
        threshold = levels["calibration"].threshold(budget)
        yield Foresight(
            budget=budget,
            threshold=threshold,
            false_alarms_per_car_week=levels["healthy"].false_alarms_per_car_week(threshold),
            lead_h=metrics.leads_h(levels["faulty"], threshold, asked),
        )


def _aurocs(healthy: Floats, faulty: Floats, every: Sequence[Failure], told: Settings) -> dict[str, float]:
    """Of all faults under "", and of each kind: samples from onset to failure against healthy cars'."""
    learned = told.learning_samples
    sound = healthy[:, learned:].ravel()
    found = {}
    for kind in ["", *sorted({failure.kind for failure in every})]:
        chosen = [failure for failure in every if kind in ("", failure.kind)]
        grown = metrics.grown_samples(faulty.shape, chosen, told.interval_s)
        found[kind] = metrics.auroc(sound, faulty[grown])
    return found
