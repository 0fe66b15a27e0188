"""How many records of a slice a car may hold, so that few cars do not decide what a model learns.

A car that sends a hundred times as often as the others, broken or in wrong hands, would be most of the
slice: of its statistics, its threshold, its false alarms. Any share of the cars holds at most twice that
share of the records (docs/decisions/quota.md).
"""

import logging
from bisect import bisect_left
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trainer import capacity
from trainer.log_slice import Telemetry
from trainer.model.replay import ranks

_log = logging.getLogger("trainer")

_MEANS_MAX = 2  # the records of a car are at most so many times those of a car on average
# The log is read back at most so many times as far as --records-max, to find as many records within quotas.
_READ_MAX = 4

Counts = NDArray[np.intp]  # (cars,) records of each car


@dataclass(frozen=True)
class Quota:
    """The least and the most records of a car; a manifest keeps them, so that the slice is found again."""

    least: int  # a car with fewer is left out: it cannot be learned
    most: int  # of a car with more the newest are kept


def fair(telemetry: Telemetry, learning_s: float, records_max: int) -> Quota:
    """The quota for a slice of at most `records_max` records, with a line in the log where it cuts a car.

    Only cars that can be learned count, and stay: ids can be invented, and of a million with a record each
    the mean would be 1. Where no car can be learned all stay. Raises WorldDown where no car has two samples.
    """
    learning = capacity.learning_samples(learning_s, capacity.sample_interval_s(telemetry))
    counts = np.bincount(telemetry.car, minlength=len(telemetry.cars))
    learned = counts[counts > learning]
    if not len(learned):
        return Quota(1, len(telemetry.car))
    fair = Quota(learning + 1, most(learned, records_max))
    if len(cut := counts[counts > fair.most]):
        loudest = telemetry.cars[int(counts.argmax())].decode(errors="replace")
        shown = {"cars": len(cut), "records": int(cut.sum()), "of": len(telemetry.car), "most": fair.most}
        _log.warning("cars that send more than others are cut", extra=shown | {"loudest": loudest})
    return fair


def most(counts: Counts, records_max: int) -> int:
    """The largest number of records of a car, from 1, that is at most _MEANS_MAX means of what is kept."""

    def too_many(number: int) -> bool:
        kept = int(np.minimum(counts, number).sum())
        return number * len(counts) > _MEANS_MAX * kept or kept > records_max

    return max(1, bisect_left(range(1, int(counts.max(initial=0)) + 1), True, key=too_many))


def within(telemetry: Telemetry, quota: Quota) -> Telemetry:
    """The telemetry within the quota; cars without any of it keep their number."""
    counts = np.bincount(telemetry.car, minlength=len(telemetry.cars))[telemetry.car]
    kept = (counts >= quota.least) & (counts - ranks(telemetry.car) <= quota.most)
    if kept.all():
        return telemetry
    return replace(
        telemetry,
        car=telemetry.car[kept],
        seq=telemetry.seq[kept],
        sampled_at_ms=telemetry.sampled_at_ms[kept],
        signals=telemetry.signals[kept],
    )


def records_to_read(newest: Telemetry, records_max: int) -> int:
    """How many of the newest records to read for `records_max` within quotas, estimated from the newest."""
    counts = np.bincount(newest.car, minlength=len(newest.cars))
    counts = counts[counts > 0]
    if not len(counts):
        return records_max
    kept = int(np.minimum(counts, most(counts, int(counts.sum()))).sum())
    return records_max * min(_READ_MAX * kept, int(counts.sum())) // kept
