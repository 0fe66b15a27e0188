"""Whether a slice can hold enough telemetry of enough cars, estimated from the newest records."""

import math

import numpy as np
from numpy.typing import NDArray

from plumbing.life import WorldDown
from plumbing.settings import SettingsError
from trainer.log_slice import Telemetry
from trainer.model.replay import runs
from trainer.model.robust import CarNumbers

CARS_MIN = (50, 20, 20)  # cars of each of split.PARTS: fewer are not enough to learn or to judge
# Enough newest records to see the cars and their sample rate; read in a fraction of a second.
PROBE_RECORDS = 20_000
_INTERVAL_BITS = 32
_INTERVAL_MS_MAX = 2**_INTERVAL_BITS - 1


def sample_interval_s(telemetry: Telemetry) -> float:
    """Seconds between two samples of a car, in the median. Raises WorldDown where no car has two."""
    intervals_ms = car_intervals_ms(telemetry.car, telemetry.sampled_at_ms)
    if not len(intervals_ms):
        raise WorldDown("no car has two samples yet: gather more telemetry (--wait-records)")
    return max(float(np.median(intervals_ms)) / 1000, 1e-3)


def car_intervals_ms(car: CarNumbers, sampled_at_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """The median time between two samples of each car that has two; n rows by car and seq.

    The fleet's interval is the median of these: the median over all rows is that of whoever sends most.
    """
    same = np.flatnonzero(np.diff(car) == 0)
    between_ms = np.clip(sampled_at_ms[same + 1] - sampled_at_ms[same], 0, _INTERVAL_MS_MAX)
    starts, lengths = runs(car[same])
    # One sort of all cars: the number of the car stands above the bits of the time.
    by_car = np.sort((car[same].astype(np.int64) << _INTERVAL_BITS) | between_ms)
    return np.asarray(by_car[starts + (lengths - 1) // 2] & _INTERVAL_MS_MAX)


def learning_samples(learning_s: float, interval_s: float) -> int:
    """Samples that a car is learned for."""
    return max(1, round(learning_s / interval_s))


def refuse_hopeless(newest: Telemetry, learning_s: float, records_max: int, reach: float = 1.0) -> None:
    """Raises SettingsError where no slice of `records_max` can hold enough, by a fleet's newest records.

    `reach`: how many records are read for each of them, where few cars send most (trainer/quota.py).

    A longer slice is expected to hold each car in the same proportion. Too few cars that occur twice among
    the newest records do not tell: then only the slice itself can.
    """
    counts, cars_min = np.sort(np.bincount(newest.car))[::-1], sum(CARS_MIN)
    if len(counts) < cars_min or counts[cars_min - 1] < 2:
        return
    samples, records = learning_samples(learning_s, sample_interval_s(newest)), len(newest.car)
    if math.ceil((samples + 1) * records / counts[cars_min - 1]) > records_max * reach:
        # A car is learned for a time and judged afterwards, so a good slice holds it for twice as long.
        enough = math.ceil(2 * samples * records / float(np.median(counts)) / reach)
        raise SettingsError(
            f"--records-max {records_max} can never hold enough of this fleet: cars are learned for "
            f"{samples} samples each (--learning-s), which takes about {enough} records; set --records-max "
            f"to that, or --learning-s to {learning_s * records_max / enough:.3g}"
        )
