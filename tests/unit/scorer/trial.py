"""A fleet with a challenger beside its champion."""

from typing import Any

import numpy as np

from contract.alert_rule import AlertRule
from contract.evidence import Evidence
from contract.manifest import Decision
from contract.telemetry import SIGNALS, Floats
from contract.trial import places
from scorer.model import Model

from .fleet import Fleet

K = len(SIGNALS)
RULE = AlertRule(smoothing=0.5)
CARS = [f"car-{number}" for number in range(40)]


class Drive:
    """Samples of the same cars, one round after the other: restless, and some with a fault."""

    def __init__(self, remembering: Any) -> None:
        self._mean, self._spread = remembering.mean, remembering.spread
        self._noise = np.random.default_rng(1)

    def signals(self, faulty: float = 0.0) -> Floats:
        """The next sample of each car; every fifth is off by `faulty` spreads."""
        off = np.where(np.arange(len(CARS)) % 5 == 0, faulty, 0.0)[:, None]
        noise = 0.2 * self._noise.normal(size=(len(CARS), K))
        return (self._mean + self._spread * (off + noise)).astype(np.float32)


def learned(fleet: Fleet, drive: Drive, challenger: Model) -> Fleet:
    """The fleet, with a challenger that has learned all cars."""
    for _ in range(8):
        fleet.samples(CARS, drive.signals())
    fleet.detector.challenge(challenger)
    for _ in range(5):
        fleet.samples(CARS, drive.signals())
    assert fleet.detector.trial
    assert fleet.detector.trial.learning == 0
    return fleet


def canary(share: float, version: int = 2) -> set[str]:
    """The cars that a challenger of this version and share scores, or that are on trial."""
    found = places([car.encode() for car in CARS], version).tolist()
    return {car for car, place in zip(CARS, found, strict=True) if place < share}


def taken(fleet: Fleet) -> dict[int, Evidence]:
    return {each.model_version: each for each in fleet.detector.take_evidence("s", 1, 2)}


def course(drive: Drive) -> list[Floats]:
    """10 rounds, 12 in which faults have appeared, 8 without."""
    return [drive.signals(faulty) for faulty in [0.0] * 10 + [3.0] * 12 + [0.0] * 8]


def model(
    remembering: Any,
    version: int,
    by: float = 0.0,
    share: float | None = None,
    on_trial: float = 1.0,
    **other: Any,
) -> Model:
    """A model that expects the signals `by` spreads higher; `other` replaces fields of its manifest."""
    decision = Decision(published=True, share=share, on_trial=on_trial)
    other = {"threshold": 4.0, "alert": RULE, "decision": decision} | other
    return Model.open(remembering.shifted(by).record(version, **other), "litert")


def openings(alerts: list[dict[str, Any]]) -> list[str]:
    """The ids of the alerts that opened; each must have closed."""
    opened, closed = ([a["alert_id"] for a in alerts if a["action"] == way] for way in ("opened", "closed"))
    assert sorted(opened) == sorted(closed)
    return sorted(opened)
