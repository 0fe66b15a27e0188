"""One seed's fleet from its cars to its figures: simulate, train, set thresholds, test."""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.alert_rule import SMOOTHED, AlertRule
from contract.telemetry import Floats
from quality import detectors, metrics
from quality.detectors import Detector, Supervised
from quality.ground import Failure, Ground
from quality.metrics import FleetLevels, Foresight
from quality.settings import CHANGES, FAULTY_IN, HOUR_S, Settings
from trainer.judge.evaluate import auroc
from trainer.model.state import Window

# With this rule a single score can open an alert; with SMOOTHED scores are smoothed first.
# Detectors without a memory are judged by single scores, all others by smoothed ones; the figure with the
# other rule is shown beside it.
SINGLE_RULE = AlertRule(smoothing=1.0)
_AUROC_EVERY = 8  # neighbouring samples are alike

Report = Callable[[str, float], None]  # (the present step, the share of it that is done)


@dataclass(frozen=True)
class Answers:
    """The results of one detector on one fleet."""

    foresights: tuple[Foresight, ...]  # in the order of metrics.CURVE
    otherwise: Foresight  # at the first of metrics.BUDGETS, by the other rule
    auroc: float
    auroc_per_fault: Mapping[str, float]
    named: tuple[str | None, ...]  # per failure: the component named; None: not foreseen
    seconds: float

    def at(self, budget: float) -> Foresight:
        """The foresight at one of the budgets."""
        return self.foresights[metrics.CURVE.index(budget)]


@dataclass(frozen=True)
class Outcome:
    """One fleet's figures."""

    seed: int
    failures: tuple[Failure, ...]
    failures_in: Mapping[str, NDArray[np.intp]]  # per change: indices into `failures`
    answers: Mapping[str, Answers]  # per detector
    spoilt: Mapping[str, Answers]  # per detector that also learned from faulty cars


def run(settings: Settings, seed: int, folder: Path, report: Report) -> Outcome:
    """Run all detectors on the fleet of this seed; its samples lie in `folder` (kept with --keep-data).

    Raises ValueError if the fleet is too small to have a failure, or a detector's score is not finite.
    """
    ground = Ground(settings, seed, folder)
    try:
        ground.simulate(report)
        test = _Test(ground)
        answers = {}
        for i, name in enumerate(settings.detectors):
            report(name, i / len(settings.detectors))
            answers[name] = test.answers(name)
        spoilt = {}
        for name in set(settings.spoilt) & set(settings.detectors):
            report(f"{name}, learning from faulty cars too", 1.0)
            spoilt[name] = test.answers(name, spoilt=True)
        return Outcome(seed, tuple(test.failures), test.failures_in, answers, spoilt)
    finally:
        if not settings.keep_data:
            shutil.rmtree(folder, ignore_errors=True)


class _Test:
    """The test of every detector on a fleet; no detector sees the truth that is kept here."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.every, self.failures = ground.failures()
        self.failures_in = {change: ground.failures_in(change) for change in CHANGES}
        if not self.failures:
            raise ValueError("no component failed: give more --faulty-cars or more --hours")

    def answers(self, name: str, *, spoilt: bool = False) -> Answers:
        """Fit one detector, set its thresholds and test it. `spoilt`: it also learns from faulty cars."""
        started, settings = time.monotonic(), self.ground.settings
        memory = round(settings.memory_h * HOUR_S / settings.interval_s)
        detector = detectors.make(name, self.ground.seed, Window(settings.learning_samples, memory))
        training = self.ground.part("training").read(0, settings.cars("training"))
        if spoilt:
            bad = settings.spoilt_cars("training")
            training[:bad] = self.ground.part("spoilt").read(0, bad)
        if isinstance(detector, Supervised):
            labelled = self.ground.part("labelled")
            detector.see_failures(labelled.read(0, labelled.cars), self.ground.labels())
        detector.fit(training)
        del training
        parts = ("calibration", "healthy", "faulty", *(() if spoilt else (*CHANGES, *FAULTY_IN.values())))
        scores = {part: self._scores(detector, part) for part in parts}
        if spoilt:
            bad = settings.spoilt_cars("calibration")
            scores["calibration"][:bad] = self._scores(detector, "spoilt")[-bad:]
        rule, other = (SINGLE_RULE, SMOOTHED) if name in detectors.STATELESS else (SMOOTHED, SINGLE_RULE)
        levels, otherwise = (self._levels(scores, one, spoilt) for one in (rule, other))
        aurocs = self._aurocs(scores["healthy"], scores["faulty"])
        foresights = tuple(self._foresight(levels, budget) for budget in metrics.CURVE)
        return Answers(
            foresights=foresights,
            otherwise=self._foresight(otherwise, metrics.BUDGETS[0]),
            auroc=aurocs.pop(""),
            auroc_per_fault=aurocs,
            named=self._named(detector, foresights[metrics.CURVE.index(metrics.BUDGETS[0])].lead_h),
            seconds=time.monotonic() - started,
        )

    def _scores(self, detector: Detector, part: str) -> Floats:
        """The scores of all cars of a part, (cars, samples)."""
        return np.concatenate([detector.score(signals) for _, signals in self.ground.part(part).groups()])

    def _named(self, detector: Detector, lead_h: NDArray[np.float64]) -> tuple[str | None, ...]:
        """For each failure the component that its first alert named; None if it was not foreseen."""
        failures, interval_s = self.failures, self.ground.settings.interval_s
        components: list[str | None] = [None] * len(failures)
        foreseen = np.flatnonzero(~np.isnan(lead_h)).tolist()
        for first, signals in self.ground.part("faulty").groups():
            here = [i for i in foreseen if first <= failures[i].car < first + len(signals)]
            if here:
                cars = np.array([failures[i].car - first for i in here])
                opened_s = np.array([failures[i].failed_s - 3600 * lead_h[i] for i in here])
                samples = np.round(opened_s / interval_s).astype(np.intp) - 1
                for i, name in zip(here, detector.named(signals, cars, samples), strict=True):
                    components[i] = name
        return tuple(components)

    def _levels(self, scores: Mapping[str, Floats], rule: AlertRule, spoilt: bool) -> dict[str, FleetLevels]:
        settings = self.ground.settings
        levels = {
            part: FleetLevels.of(score, settings.learning_samples, settings.interval_s, rule)
            for part, score in scores.items()
        }
        if spoilt:  # some of these cars are faulty
            levels["calibration"] = levels["calibration"].trusted()
        return levels

    def _foresight(self, levels: Mapping[str, FleetLevels], budget: float) -> Foresight:
        threshold = levels["calibration"].threshold(budget)
        return Foresight(
            threshold=threshold,
            false_alarms_per_car_week={
                part: levels[part].false_alarms_per_car_week(threshold, self.ground.changes_from_s(part))
                for part in ("healthy", *CHANGES)
                if part in levels
            },
            lead_h=levels["faulty"].leads_h(threshold, self.failures),
            lead_h_in={
                change: levels[part].leads_h(threshold, [self.failures[i] for i in self.failures_in[change]])
                for change, part in FAULTY_IN.items()
                if part in levels
            },
        )

    def _aurocs(self, healthy: Floats, faulty: Floats) -> dict[str, float]:
        """AUROC of all faults (""), and of each kind: samples from onset to failure against healthy cars."""
        learned = self.ground.settings.learning_samples
        sound = healthy[:, learned::_AUROC_EVERY].ravel()
        aurocs = {}
        for kind in ["", *sorted({failure.kind for failure in self.every})]:
            chosen = [failure for failure in self.every if kind in ("", failure.kind)]
            grown = metrics.grown_samples(faulty.shape, chosen, self.ground.settings.interval_s)
            aurocs[kind] = auroc(sound, faulty[grown][::_AUROC_EVERY])
        return aurocs
