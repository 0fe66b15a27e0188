"""Drift: how soon a change of the fleet is seen, what a model learned after it does, and false triggers.

Each change happens to a fleet of its own, of the same cars. A sample a minute, 8 h learned, 1 h of memory; in
the demo's time lapse 20 h of driving are a minute.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats
from quality.ground import Failure
from quality.life.bars import Bar, Figures
from quality.life.looks import Looks
from quality.life.replayed import INTERVAL_S, WINDOW, Replayed, driven, replayed, trained
from scorer.model import Model
from simulator.faults import KINDS
from simulator.fleet import Fleet
from simulator.scenario import Scenario
from trainer.watch.verdict import surely_over

_HOUR = 60  # samples
_LEARNED = WINDOW.learning_samples
_LAPSE = 1_200.0  # seconds of driving in a second of the demo
_CHANGED = 16 * _HOUR
_LEARNED_ANEW = 46 * _HOUR
_SEEN_MOST = 20 * _HOUR  # samples within which a change has to be seen
_TRAINING = 10 * _HOUR  # samples from the start of a training to its model
_SAMPLES = 96 * _HOUR
_SHARE = 0.2  # of the cars, where a change does not happen to all
_HEALTHY, _FAULTY = 150, 60  # cars whose alarms are judged
_BUDGET = 0.1  # false alarms a car-week
_DAY_S, _NO_END_S = 86_400.0, 1e9
# Part: (number of its first car, cars, samples).
_PARTS = {
    "training": (0, 80, 40 * _HOUR),
    "calibration": (1_000, 150, _SAMPLES),
    "healthy": (2_000, _HEALTHY, _SAMPLES),
    "faulty": (3_000, _FAULTY, _SAMPLES),
}
_QUIET_FIRST, _QUIET_SAMPLES = 4_000, 48 * _HOUR
# First day of fleets in which nothing drifts, and the share of their cars that is faulty.
_QUIET = (
    (120.0, 0.0),
    (200.0, 0.0),
    (290.0, 0.0),
    (15.0, 0.0),
    (120.0, 0.1),
    (200.0, 0.1),
    (120.0, 0.3),
    (200.0, 0.3),
)


@dataclass(frozen=True)
class _Change:
    """A change that is no fault, as settings of a scenario."""

    settings: Mapping[str, Any]
    at: str  # the setting that says when it happens

    def of(self, sound: Scenario, at_s: float) -> Scenario:
        """The scenario with the change at this second."""
        settings: dict[str, Any] = {**self.settings, self.at: at_s}
        return replace(sound, **settings)


_CHANGES = {
    "voltage_of_a_fifth": _Change({"recalibrated": _SHARE}, "recalibrated_at_s"),
    "voltage": _Change({"recalibrated": 1.0}, "recalibrated_at_s"),
    "air_flow": _Change(
        {"recalibrated": 1.0, "recalibrated_signal": "intake_air_flow_speed", "recalibrated_factor": 1.1},
        "recalibrated_at_s",
    ),
    "cold": _Change({"cold_k": 20.0, "cold_for_s": _NO_END_S}, "cold_at_s"),
}
_NEW_MODEL = "new_model"  # cars of a model that is new in the fleet join it
# After these cars are learned anew, wholly or mostly: what a car does then becomes normal, faults too. So the
# faults begin later; the others go on while a car is handed over.
_ANEW = ("cold", _NEW_MODEL)


@dataclass(frozen=True)
class _Fleet:
    """A seed's cars, in parts that share none, with one change of them or none."""

    seed: int
    change: str = ""
    faults_from: int = _CHANGED  # sample

    def signals(self, part: str, since_s: float = _CHANGED * INTERVAL_S) -> Floats:
        """(cars, samples, K) of a part, with the change from this second on."""
        first, cars, samples = _PARTS[part]
        return driven(
            Fleet(seed=self.seed, first=first, cars=cars, scenario=self.scenario(part, since_s)), samples
        )

    def cars(self) -> Floats:
        """Healthy and faulty cars."""
        return np.concatenate([self.signals("healthy"), self.signals("faulty")])

    def scenario(self, part: str, since_s: float) -> Scenario:
        """What happens to a part's cars."""
        first, cars, _ = _PARTS[part]
        faulty = part == "faulty"
        scenario = Scenario(faulty_share=float(faulty), healthy_s=self.faults_from * INTERVAL_S)
        if self.change in _CHANGES:
            return _CHANGES[self.change].of(scenario, since_s)
        # All faulty cars are new ones, to see how many of their failures are foreseen.
        joining = first + (0 if faulty else round((1 - _SHARE) * cars))
        return replace(scenario, new_model_from=joining) if self.change == _NEW_MODEL else scenario

    def model(self) -> Model:
        """A model that is learned after the change."""
        return trained(self.signals("training", -_DAY_S), self.signals("calibration", -_DAY_S), self.seed)

    def begin(self) -> NDArray[np.intp]:
        """(healthy and faulty cars,) the first sample of each."""
        begin = np.zeros(_HEALTHY + _FAULTY, np.intp)
        if self.change == _NEW_MODEL:
            begin[round((1 - _SHARE) * _HEALTHY) :] = _CHANGED
        return begin

    def failures(self) -> list[Failure]:
        """The failures of the faulty cars."""
        first, cars, _ = _PARTS["faulty"]
        plan = Fleet(seed=self.seed, first=first, cars=cars, scenario=self.scenario("faulty", 0)).plan
        return [
            Failure(
                car=int(plan.car[i]) - first,
                kind=KINDS[kind].name,
                component=plan.component(i),
                onset_s=float(plan.onset_s[i]),
                failed_s=float(plan.failed_s[i]),
            )
            for i, kind in enumerate(plan.kind.tolist())
        ]


def measure(seed: int, _folder: Path) -> Figures:
    """The figures of one seed."""
    started, champion = time.monotonic(), _Fleet(seed).model()
    before = {
        at: replayed(_Fleet(seed, faults_from=at).cars(), {0: champion}) for at in (_CHANGED, _LEARNED_ANEW)
    }
    fleets = [
        _Fleet(seed, name, _LEARNED_ANEW if name in _ANEW else _CHANGED) for name in (*_CHANGES, _NEW_MODEL)
    ]
    rows = [_changed(fleet, champion, before[fleet.faults_from]) for fleet in fleets]
    false_triggers = sum(_triggered(_quiet(seed, *quiet), champion) is not None for quiet in _QUIET)
    return {
        "changes": rows,
        "fleets": len(_QUIET),
        "false_triggers": false_triggers,
        "seconds": time.monotonic() - started,
    }


def _changed(fleet: _Fleet, champion: Model, before: Replayed) -> dict[str, Any]:
    """What one change does; `before`: the champion's scores of the same cars without it.

    New cars would not be there without it, so of these it is what the champion says of them.
    """
    cars, healthy = fleet.cars(), slice(_HEALTHY)
    seen = _CHANGED + _SEEN_MOST
    triggered = _triggered(cars[healthy, :seen], champion, fleet.begin()[healthy])
    published = (triggered or seen) + _TRAINING
    if fleet.change == _NEW_MODEL:
        before = replayed(cars, {0: champion}, begin=fleet.begin())
    after = replayed(cars, {0: champion, published: fleet.model()}, begin=fleet.begin(), groups=True)
    promoted = int(np.flatnonzero((after.models == 1).all(axis=0))[0])
    since = promoted + _HOUR
    failures = [
        failure
        for failure in fleet.failures()
        if failure.onset_s >= since * INTERVAL_S and failure.failed_s <= _SAMPLES * INTERVAL_S
    ]
    openings, car_weeks = after.part(healthy).false_alarms(since)
    faulty = slice(_HEALTHY, None)
    return {
        "change": fleet.change,
        "seed": fleet.seed,
        "triggered_s": None if triggered is None else _demo_s(triggered),
        "promoted_s": _demo_s(promoted),
        "failures": len(failures),
        "recall_before": before.part(faulty).foreseen(failures, since),
        "recall_after": after.part(faulty).foreseen(failures, since),
        "false_alarms": openings,
        "false_alarms_before": before.part(healthy).false_alarms(since)[0],
        "car_weeks": car_weeks,
        "false_alarms_after": openings / car_weeks,
    }


def _triggered(signals: Floats, champion: Model, begin: NDArray[np.intp] | None = None) -> int | None:
    """The sample after which a training starts, if one does."""
    looks = Looks()
    replayed(signals, {0: champion}, begin=begin, after=looks.after)
    return looks.triggered


def _quiet(seed: int, first_day: float, faulty_share: float) -> Floats:
    """A fleet in which nothing drifts; its cars are those of no part."""
    scenario = Scenario(faulty_share=faulty_share, first_day=first_day)
    return driven(Fleet(seed=seed, first=_QUIET_FIRST, cars=_HEALTHY, scenario=scenario), _QUIET_SAMPLES)


def _demo_s(sample: int) -> float:
    """Seconds of the demo from the change to the end of a sample."""
    return (sample + 1 - _CHANGED) * INTERVAL_S / _LAPSE


def summary(figures: list[Figures], reached: Mapping[str, float]) -> dict[str, Any]:
    """The part of summary.json: a row for each change, and the trainings that nothing had called for."""
    rows = [row for seed in figures for row in seed["changes"]]
    return {"drift": rows, "false_triggers": reached["false_triggers"]}


def bars(figures: list[Figures]) -> list[Bar]:
    """The bars over all seeds."""
    rows = [row for seed in figures for row in seed["changes"]]
    every = [[row for row in rows if row["change"] == change] for change in (*_CHANGES, _NEW_MODEL)]

    def recall(of_change: list[dict[str, Any]], when: str) -> float:
        return float(
            np.average([row[when] for row in of_change], weights=[row["failures"] for row in of_change])
        )

    def rate(of_change: list[dict[str, Any]]) -> float:
        return float(
            sum(row["false_alarms"] for row in of_change) / sum(row["car_weeks"] for row in of_change)
        )

    unseen_s = 2 * _SEEN_MOST * INTERVAL_S / _LAPSE
    loss = [
        recall(of_change, "recall_before") - recall(of_change, "recall_after") for of_change in every[:-1]
    ]
    return [
        Bar(
            "triggered_s",
            "from a change to the start of a training, s of the demo",
            max(unseen_s if row["triggered_s"] is None else row["triggered_s"] for row in rows),
            60,
        ),
        Bar(
            "false_triggers",
            f"trainings started in {sum(seed['fleets'] for seed in figures)} fleets without a change",
            sum(seed["false_triggers"] for seed in figures),
            0,
        ),
        Bar(
            "promoted_s",
            "from a change to a new model that scores all cars",
            max(row["promoted_s"] for row in rows),
            300,
        ),
        Bar("recall_loss", "recall lost by a change once the new model scores", max(loss), 0.02),
        Bar(
            "new_model_missed",
            "failures of cars of a new vehicle model not foreseen",
            1 - recall(every[-1], "recall_after"),
            0.15,
        ),
        Bar(
            "false_alarms_after",
            "false alarms a car-week of the new models, after all changes",
            rate(rows),
            2 * _BUDGET,
        ),
        # A change has some ten false alarms in all, so its rate alone is known to a third.
        Bar(
            "surely_too_many",
            "changes after which false alarms are surely over twice the budget",
            sum(
                surely_over(
                    sum(row["false_alarms"] for row in of_change),
                    2 * _BUDGET * sum(row["car_weeks"] for row in of_change),
                )
                for of_change in every
            ),
            0,
        ),
    ]
