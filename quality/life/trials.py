"""Trials of sound but bad models: whether one ever scores a car by evidence, and how soon one is withdrawn.

The scorer's own detector runs champion and challenger over healthy cars, and what it counts is judged every
hour by the watch's rules.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from contract.joined import Joined
from contract.manifest import Decision
from contract.telemetry import Decoded, Floats
from quality.life.bars import Bar, Figures
from quality.life.replayed import INTERVAL_S, WINDOW, driven, trained, with_manifest
from scorer.detector import AnomalyDetector
from scorer.model import Model
from simulator.fleet import Fleet
from simulator.scenario import NEVER, Scenario
from trainer.watch.counts import Counts
from trainer.watch.verdict import Rules, Trial, Verdict, judge

_HOUR = 60  # samples
_CARS, _SAMPLES = 240, 84 * _HOUR  # 120 car-weeks
_BEGUN = 10 * _HOUR  # the trial
_CAR_WEEKS = 100.0  # within which a bad model has to be withdrawn
_RULES = Rules(budget=0.1, car_weeks_min=_CAR_WEEKS)
_SHARES = (0.0, 1.0)


def measure(seed: int, _folder: Path) -> Figures:
    """The figures of one seed."""
    started = time.monotonic()
    champion, stranger = _model(seed, NEVER), _model(seed, 0)
    signals = _driven(seed, 2_000, _CARS, _SAMPLES)
    halved = with_manifest(champion, threshold=champion.manifest.threshold / 2)
    bad = {"threshold halved": halved, "of another fleet": stranger}
    rows = [
        {"model": name, "seed": seed, "share": share, **_trial(signals, champion, model, share)}
        for name, model in bad.items()
        for share in _SHARES
    ]
    return {"trials": rows, "seconds": time.monotonic() - started}


def summary(figures: list[Figures], _reached: Mapping[str, float]) -> dict[str, Any]:
    """The part of summary.json: a row for each bad model and share."""
    return {"trials": [row for seed in figures for row in seed["trials"]]}


def bars(figures: list[Figures]) -> list[Bar]:
    """The bars over all seeds."""
    rows = [row for seed in figures for row in seed["trials"]]
    promoted = sum(row["promoted"] for row in rows)
    slowest = max(2 * _CAR_WEEKS if (weeks := row["withdrawn_after"]) is None else weeks for row in rows)
    return [
        Bar("bad_promoted", "bad models promoted by evidence", promoted, 0),
        Bar("withdrawn_after", "car-weeks until a bad model is withdrawn", slowest, _CAR_WEEKS),
    ]


def _model(seed: int, new_model_from: int) -> Model:
    """A model of a fleet whose cars from this number on are of a new vehicle model."""
    training = _driven(seed, 0, 80, 40 * _HOUR, new_model_from)
    return trained(training, _driven(seed, 1_000, 150, 88 * _HOUR, new_model_from), seed)


def _driven(seed: int, first: int, cars: int, samples: int, new_model_from: int = NEVER) -> Floats:
    """Healthy cars."""
    scenario = Scenario(faulty_share=0.0, new_model_from=new_model_from)
    return driven(Fleet(seed=seed, first=first, cars=cars, scenario=scenario), samples)


def _trial(signals: Floats, champion: Model, challenger: Model, share: float) -> dict[str, Any]:
    """How a trial ends: promoted, withdrawn after so many car-weeks, or neither; and why."""
    for car_weeks, verdict in _verdicts(signals, champion, challenger, share):
        if verdict.action in ("promote", "withdraw"):
            withdrawn = verdict.action == "withdraw"
            return {
                "promoted": not withdrawn,
                "withdrawn_after": car_weeks if withdrawn else None,
                "reasons": verdict.reasons,
            }
    return {"promoted": False, "withdrawn_after": None, "reasons": verdict.reasons}


def _verdicts(
    signals: Floats, champion: Model, challenger: Model, share: float
) -> Iterator[tuple[float, Verdict]]:
    """(car-weeks that the champion judged in the trial, verdict) of every hour."""
    detector, cars = AnomalyDetector(), len(signals)
    detector.add(with_manifest(champion, version=1))
    keys = Joined.of([b"%06d" % car for car in range(cars)])
    partitions, own, control = np.zeros(cars, np.int32), Counts(), Counts()
    for sample in range(signals.shape[1]):
        if sample == _BEGUN:
            detector.take_evidence("scorer-0", 0, 0)
            decision = Decision(published=True, share=share)
            detector.challenge(with_manifest(challenger, version=2, decision=decision))
        seq = np.full(cars, sample + 1)
        at_ms = seq * round(1000 * INTERVAL_S)
        moment = np.ascontiguousarray(signals[:, sample])
        decoded = Decoded(np.arange(cars), seq, at_ms, moment)
        by_car, sifted = detector.sift(keys, partitions, decoded)
        detector.detect(by_car, sifted, decoded)
        if sample > _BEGUN and not sample % _HOUR:
            now_ms = int(at_ms[0])
            for evidence in detector.take_evidence("scorer-0", now_ms - _HOUR * 60_000, now_ms):
                (control if evidence.share is None else own).add(("edge", "scorer-0"), evidence)
            standing = control.standing(1, INTERVAL_S, 0)
            trial = Trial(
                champion=standing,
                challenger=own.standing(2, INTERVAL_S, 0),
                share=share,
                learning_times=control.judged / (cars * WINDOW.learning_samples),
            )
            yield standing.car_weeks, judge(trial, _RULES)
