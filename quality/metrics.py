"""The figures of one detector on one fleet: what was foreseen, how long before, at how many false alarms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quality.alerts import FleetLevels
from quality.truth import Failure

BUDGETS = (0.1, 1.0)  # false alarms per car-week for which the tables stand
CURVE = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class Foresight:
    """What one threshold gives. lead_h[i]: hours from the first alert to failure i; NaN: not foreseen."""

    budget: float
    threshold: float
    false_alarms_per_car_week: Mapping[str, float]  # on healthy test cars, and during each change
    lead_h: NDArray[np.float64]


def leads_h(levels: FleetLevels, threshold: float, failures: Sequence[Failure]) -> NDArray[np.float64]:
    """(failures,) hours from the first alert that opens between onset and failure; NaN where none does."""
    car, at_s = levels.openings(threshold)
    found = np.full(len(failures), np.nan)
    for place, failure in enumerate(failures):
        own = at_s[car == failure.car]
        hits = own[(own > failure.onset_s) & (own < failure.failed_s)]
        if hits.size:
            found[place] = (failure.failed_s - hits[0]) / 3600
    return found


def grown_samples(
    shape: tuple[int, int], failures: Sequence[Failure], interval_s: float
) -> NDArray[np.bool_]:
    """(cars, samples): whether a sample lies between a fault's onset and its failure."""
    grown = np.zeros(shape, bool)
    for failure in failures:
        start, stop = (int(at / interval_s) for at in (failure.onset_s, failure.failed_s))
        grown[failure.car, max(start, 0) : max(stop, 0)] = True
    return grown


def summary(lead_h: NDArray[np.float64]) -> dict[str, float | None]:
    """Recall, and median and worst tenth of the leads of what was foreseen; None where there is nothing."""
    found = lead_h[~np.isnan(lead_h)]
    return {
        "recall": len(found) / len(lead_h) if len(lead_h) else None,
        "median_lead_h": float(np.median(found)) if len(found) else None,
        "p10_lead_h": float(np.quantile(found, 0.1)) if len(found) else None,
    }
