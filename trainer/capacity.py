"""Whether a slice can hold enough telemetry of enough cars, estimated from the newest records."""

import math
from dataclasses import dataclass

import numpy as np

from plumbing.life import WorldDown
from trainer.log_slice import Telemetry

CARS_MIN = (50, 20, 20)  # cars of each of split.PARTS: fewer are not enough to learn or to judge
# Enough newest records to see the cars and their sample rate; read in a fraction of a second.
PROBE_RECORDS = 20_000
# A car is learned for a time and judged afterwards, so a good slice holds it for twice as long.
_SLICE_TO_LEARNING = 2


@dataclass(frozen=True)
class SliceNeed:
    """How many records a slice needs."""

    records_min: int  # with fewer, not enough cars can have been learned
    records: int  # with these, half of all cars' samples are left to judge by
    samples: int  # that each car is learned for

    def __str__(self) -> str:
        return (
            f"cars are learned for {self.samples} samples each (--learning-s), which takes about "
            f"{self.records} records of this fleet"
        )


def sample_interval_s(telemetry: Telemetry) -> float:
    """Seconds between two samples of a car, in the median. Raises WorldDown where no car has two."""
    same = np.diff(telemetry.car) == 0
    if not same.any():
        raise WorldDown("no car has two samples yet: gather more telemetry (--wait-records)")
    return max(float(np.median(np.diff(telemetry.sampled_at_ms)[same])) / 1000, 1e-3)


def learning_samples(learning_s: float, interval_s: float) -> int:
    """Samples that a car is learned for."""
    return max(1, round(learning_s / interval_s))


def need(newest: Telemetry, learning_s: float) -> SliceNeed | None:
    """What a slice must hold, estimated from the fleet's newest records.

    A longer slice is expected to hold each car in the same proportion. None where the newest records do not
    tell, because too few cars occur in them twice.
    """
    counts, cars_min = np.sort(np.bincount(newest.car))[::-1], sum(CARS_MIN)
    if len(counts) < cars_min or counts[cars_min - 1] < 2:
        return None
    samples = learning_samples(learning_s, sample_interval_s(newest))
    records = len(newest.car)
    return SliceNeed(
        records_min=math.ceil((samples + 1) * records / counts[cars_min - 1]),
        records=math.ceil(_SLICE_TO_LEARNING * samples * records / float(np.median(counts))),
        samples=samples,
    )
