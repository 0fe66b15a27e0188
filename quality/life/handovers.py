"""Hand-overs: many in a row, models that come faster than cars drive, and a change of the whole fleet.

A sample a minute, 8 h learned, 1 h of memory. A false alarm is an alert of a healthy car.
"""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from contract.telemetry import SIGNALS
from quality.ground import Ground
from quality.life.bars import Bar, Figures
from quality.life.replayed import INTERVAL_S, WINDOW, Replayed, replayed, trained
from quality.settings import Settings

_LEARNED = WINDOW.learning_samples
_HOUR = 60  # samples
_SETTINGS = Settings(
    hours=100, interval_s=INTERVAL_S, training_cars=100, calibration_cars=200, healthy_cars=200,
    faulty_cars=60, changed_cars=8,
)  # fmt: skip
# Seven in a row, the first after the learning period; nightly ones for cars that drive 1 h a day.
_SEVEN = [_LEARNED + 3 * _HOUR + 11 * _HOUR * number for number in range(7)]
_NIGHTLY = range(_LEARNED + _HOUR, 100 * _HOUR, _HOUR)
# All cars' voltage rises by 1 %; ten hours later comes a model learned from such cars.
_CHANGED, _MENDED = 30 * _HOUR, 40 * _HOUR
_VOLTAGE, _BY = SIGNALS.index("battery_voltage"), np.float32(1.01)
_LATER = 10 * _HOUR


def measure(seed: int, folder: Path) -> Figures:
    """The figures of one fleet; its telemetry lies in `folder` meanwhile."""
    started, ground = time.monotonic(), Ground(_SETTINGS, seed, folder)
    ground.simulate(lambda _step, _share: None)
    parts = {
        name: ground.part(name).read(0, _SETTINGS.cars(name))
        for name in ("training", "calibration", "healthy", "faulty")
    }
    shutil.rmtree(folder, ignore_errors=True)
    half, calibration = _SETTINGS.training_cars // 2, parts["calibration"]
    first, second = (trained(cars, calibration, seed) for cars in np.split(parts["training"], [half]))
    cars, healthy = np.concatenate([parts["healthy"], parts["faulty"]]), _SETTINGS.healthy_cars
    _, failures = ground.failures()

    def figures(result: Replayed, since: int = _LEARNED) -> Figures:
        openings, car_weeks = result.part(slice(healthy)).false_alarms(since)
        later = [failure for failure in failures if failure.onset_s >= since * INTERVAL_S]
        recall = result.part(slice(healthy, None)).foreseen(later, since)
        return {"false_alarms": openings, "car_weeks": car_weeks, "recall": recall}

    nightly = replayed(cars, {0: first} | {at: (second, first)[at // _HOUR % 2] for at in _NIGHTLY})
    rows = {
        "never": figures(replayed(cars, {0: first})),
        "same": figures(replayed(cars, {0: first} | dict.fromkeys(_SEVEN, first))),
        "retrained": figures(
            replayed(cars, {0: first} | {at: (second, first)[i % 2] for i, at in enumerate(_SEVEN)})
        ),
        "nightly": figures(nightly) | {"oldest_model_driving_h": _oldest_h(nightly)},
    }
    for changed, since in ((cars, _CHANGED), (calibration, 0), (parts["training"], 0)):
        changed[:, since:, _VOLTAGE] *= _BY
    mended = trained(parts["training"][half:], calibration, seed)
    result = replayed(cars, {0: first, _MENDED: mended})
    handed_over = int(np.flatnonzero((result.models == 1).all(axis=0))[0])
    rows["change"] = figures(result, handed_over + _HOUR) | {
        "open_share": result.part(slice(healthy)).open_share(handed_over + _LATER)
    }
    return {**rows, "seconds": time.monotonic() - started}


def summary(figures: list[Figures], reached: Mapping[str, float]) -> dict[str, Any]:
    """The part of summary.json; `reached`: the figures of the bars."""
    return {"handovers": {**reached, "of_seeds": figures}}


def bars(figures: list[Figures]) -> list[Bar]:
    """The bars over all seeds."""

    def rate(name: str) -> float:
        """False alarms a car-week, at least one in all."""
        openings = sum(seed[name]["false_alarms"] for seed in figures)
        return float(max(1, openings) / sum(seed[name]["car_weeks"] for seed in figures))

    def recall(name: str) -> float:
        return float(np.mean([seed[name]["recall"] for seed in figures]))

    oldest_h = max(float(seed["nightly"]["oldest_model_driving_h"]) for seed in figures)
    open_share = max(float(seed["change"]["open_share"]) for seed in figures)
    return [
        Bar(
            "false_alarms_ratio",
            "false alarms with seven hand-overs to the same graph, times those without",
            rate("same") / rate("never"),
            2,
        ),
        Bar("recall_loss", "recall lost by these", recall("never") - recall("same"), 0.05),
        Bar(
            "retrained_false_alarms_ratio",
            "the same with seven hand-overs to other graphs",
            rate("retrained") / rate("never"),
            2,
        ),
        Bar("retrained_recall_loss", "recall lost by these", recall("never") - recall("retrained"), 0.05),
        Bar(
            "oldest_model_driving_h",
            "age of a car's model in hours it drove, a model a night, 1 h a day",
            oldest_h,
            10,
        ),
        Bar(
            "fleet_change_open_share",
            "cars in alert 10 h after a model that learned a change of all cars",
            open_share,
            0.05,
        ),
    ]


def _oldest_h(result: Replayed) -> float:
    """The greatest age of a model that scored a car, in hours that the car drove since its publication."""
    published = np.array([_LEARNED, *_NIGHTLY])  # the first model is as old as its cars are learned
    age = np.arange(result.models.shape[1]) - published[result.models]
    return float(age.max() + 1) / _HOUR
