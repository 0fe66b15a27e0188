"""One fleet from its cars to its figures: simulate, learn, set thresholds, ask about the test cars."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contract.alert_rule import AlertRule
from contract.telemetry import Floats
from quality import detectors, hypotheses, metrics
from quality.alerts import FleetLevels
from quality.detectors import Detector, Explaining, Lengths
from quality.ground import Ground
from quality.metrics import Foresight
from quality.samples import Part
from quality.settings import CHANGES, HOUR_S, Settings
from quality.truth import Failure
from trainer.judge.comparison import RULE
from trainer.judge.evaluate import auroc

# By the rule that the trainer ships some samples open an alert, by this one every single score can. Detectors
# without a memory are asked by this one; beside it by the other, which lends them some; the rest conversely.
SINGLE_RULE = AlertRule(smoothing=1.0)
_EXAMPLE_POINTS = 3_000
_AUROC_EVERY = 8  # samples next to each other say the same

Tell = Callable[[str, float], None]  # what is being done, and which share of it is done


@dataclass(frozen=True)
class Answers:
    """What one detector said on one fleet."""

    foresights: tuple[Foresight, ...]  # in the order of metrics.CURVE
    otherwise: Foresight  # at the first of metrics.BUDGETS, by the other rule
    auroc: float
    auroc_per_fault: Mapping[str, float]
    example_level: Floats  # of the example's car, every so many samples
    named: tuple[str | None, ...] | None  # of the failures: the component named; None: not foreseen
    seconds: float

    def at(self, budget: float) -> Foresight:
        """The foresight at one of the budgets."""
        return self.foresights[metrics.CURVE.index(budget)]


@dataclass(frozen=True)
class Outcome:
    """One fleet's figures. `spoilt`: of detectors that learned from some faulty cars as well."""

    seed: int
    failures: tuple[Failure, ...]
    example: int  # which of the failures is drawn
    answers: Mapping[str, Answers]
    spoilt: Mapping[str, Answers]


def run(told: Settings, seed: int, folder: Path, tell: Tell) -> Outcome:
    """All detectors on the fleet of this seed. Its samples lie in `folder`, afterwards only if told to keep.

    Raises ValueError where the fleet is too small to have a failure, or a detector says no number.
    """
    ground = Ground(told, seed, folder)
    try:
        ground.simulate(tell)
        asking = _Asking.of(ground)
        answers = {}
        for place, name in enumerate(told.detectors):
            tell(name, place / len(told.detectors))
            answers[name] = asking.answers(name)
        spoilt = {}
        for name in set(told.spoilt) & set(told.detectors):
            tell(f"{name}, learning from faulty cars too", 1.0)
            spoilt[name] = asking.answers(name, spoilt=True)
        return Outcome(seed, tuple(asking.asked), asking.example, answers, spoilt)
    finally:
        if not told.keep_data:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Asking:
    """The questions to every detector of a fleet; the truth stays here."""

    ground: Ground
    every: Sequence[Failure]
    asked: Sequence[Failure]
    example: int

    @classmethod
    def of(cls, ground: Ground) -> "_Asking":
        every, asked = ground.failures()
        if not asked:
            raise ValueError("no component failed: give more --faulty-cars or more --hours")
        # The picture: the first fault of its car, of a middling speed.
        cars = [failure.car for failure in asked]
        firsts = sorted({cars.index(car) for car in cars}, key=lambda i: asked[i].growth_h)
        return cls(ground, every, asked, firsts[len(firsts) // 2])

    def answers(self, name: str, *, spoilt: bool = False) -> Answers:
        """One detector: fitted, its thresholds set, asked. `spoilt`: it learns from faulty cars too."""
        started, told = time.monotonic(), self.ground.told
        memory = round(told.memory_h * HOUR_S / told.interval_s)
        detector = detectors.make(name, self.ground.seed, Lengths(told.learning_samples, memory))
        detector.fit(self._training(spoilt))
        parts = ("calibration", "healthy", "faulty", *(() if spoilt else CHANGES))
        scores = {part: scored(detector, self.ground.part(part)) for part in parts}
        if spoilt:
            bad = told.spoilt_cars("calibration")
            scores["calibration"][:bad] = scored(detector, self.ground.part("spoilt"))[-bad:]
        rule, other = (SINGLE_RULE, RULE) if name in detectors.STATELESS else (RULE, SINGLE_RULE)
        levels, otherwise = (self._levels(scores, one, spoilt) for one in (rule, other))
        aurocs = self._aurocs(scores["healthy"], scores["faulty"])
        foresights = tuple(self._foresight(levels, budget) for budget in metrics.CURVE)
        whole = levels["faulty"].level[self.asked[self.example].car]
        return Answers(
            foresights=foresights,
            otherwise=self._foresight(otherwise, metrics.BUDGETS[0]),
            auroc=aurocs.pop(""),
            auroc_per_fault=aurocs,
            example_level=whole[:: max(1, len(whole) // _EXAMPLE_POINTS)],
            named=self._named(detector, foresights[metrics.CURVE.index(metrics.BUDGETS[0])]),
            seconds=time.monotonic() - started,
        )

    def _named(self, detector: Detector, foresight: Foresight) -> tuple[str | None, ...] | None:
        if not isinstance(detector, Explaining):
            return None
        part, interval_s = self.ground.part("faulty"), self.ground.told.interval_s
        return hypotheses.named(detector, part, self.asked, foresight.lead_h, interval_s)

    def _training(self, spoilt: bool) -> Floats:
        cars = self.ground.part("training")
        training = cars.read(0, cars.cars)
        if spoilt:
            bad = self.ground.told.spoilt_cars("training")
            training[:bad] = self.ground.part("spoilt").read(0, bad)
        return training

    def _levels(self, scores: Mapping[str, Floats], rule: AlertRule, spoilt: bool) -> dict[str, FleetLevels]:
        told = self.ground.told
        levels = {
            part: FleetLevels.of(score, told.learning_samples, told.interval_s, rule)
            for part, score in scores.items()
        }
        if spoilt:  # then nobody knows which of these cars are healthy
            levels["calibration"] = levels["calibration"].trusted()
        return levels

    def _foresight(self, levels: Mapping[str, FleetLevels], budget: float) -> Foresight:
        threshold = levels["calibration"].threshold(budget)
        return Foresight(
            budget=budget,
            threshold=threshold,
            false_alarms_per_car_week={
                part: levels[part].false_alarms_per_car_week(threshold, self.ground.changes_from_s(part))
                for part in levels.keys() - {"calibration", "faulty"}
            },
            lead_h=metrics.leads_h(levels["faulty"], threshold, self.asked),
        )

    def _aurocs(self, healthy: Floats, faulty: Floats) -> dict[str, float]:
        """All faults as "", and each kind: samples from onset to failure against those of healthy cars."""
        learned = self.ground.told.learning_samples
        sound = healthy[:, learned::_AUROC_EVERY].ravel()
        found = {}
        for kind in ["", *sorted({failure.kind for failure in self.every})]:
            chosen = [failure for failure in self.every if kind in ("", failure.kind)]
            grown = metrics.grown_samples(faulty.shape, chosen, self.ground.told.interval_s)
            found[kind] = auroc(sound, faulty[grown][::_AUROC_EVERY])
        return found


def scored(detector: Detector, part: Part) -> Floats:
    """(cars, samples) of all cars of a part."""
    scores = np.empty((part.cars, part.samples), np.float32)
    for first, signals in part.groups():
        scores[first : first + len(signals)] = detector.score(signals)
    return scores
