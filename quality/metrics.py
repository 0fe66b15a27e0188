"""The figures of one detector on one fleet: failures foreseen, lead times, false alarms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quality.alerts import FleetLevels
from quality.truth import Failure

BUDGETS = (0.1, 1.0)  # false alarms per car-week that the tables show
CURVE = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class Foresight:
    """The result of one threshold."""

    budget: float  # false alarms per car-week that the threshold was set for
    threshold: float
    false_alarms_per_car_week: Mapping[str, float]  # on healthy test cars, and during each change
    lead_h: NDArray[np.float64]  # (failures,) hours from the first alert to the failure; NaN: not foreseen


def leads_h(levels: FleetLevels, threshold: float, failures: Sequence[Failure]) -> NDArray[np.float64]:
    """(failures,) hours from the first alert that opens between onset and failure; NaN where none does."""
    car, at_s = levels.openings(threshold)
    leads = np.full(len(failures), np.nan)
    for i, failure in enumerate(failures):
        own = at_s[car == failure.car]
        hits = own[(own > failure.onset_s) & (own < failure.failed_s)]
        if hits.size:
            leads[i] = (failure.failed_s - hits[0]) / 3600
    return leads


def grown_samples(
    shape: tuple[int, int], failures: Sequence[Failure], interval_s: float
) -> NDArray[np.bool_]:
    """(cars, samples) mask: whether a sample lies between a fault's onset and its failure."""
    grown = np.zeros(shape, bool)
    for failure in failures:
        start, stop = (int(at / interval_s) for at in (failure.onset_s, failure.failed_s))
        grown[failure.car, max(start, 0) : max(stop, 0)] = True
    return grown


def summary(lead_h: NDArray[np.float64]) -> dict[str, float | None]:
    """Recall, and median and 10 % quantile of the lead times in hours; None where there are none."""
    foreseen = lead_h[~np.isnan(lead_h)]
    return {
        "recall": len(foreseen) / len(lead_h) if len(lead_h) else None,
        "median_lead_h": float(np.median(foreseen)) if len(foreseen) else None,
        "p10_lead_h": float(np.quantile(foreseen, 0.1)) if len(foreseen) else None,
    }
