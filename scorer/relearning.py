"""Bounds on how often a car is learned anew because it says that it is another one.

The graph forgets what it has learned of a car where a signal such as the firmware changes. A signal that
flickers would keep its car unlearned for ever. So a change must last, and may happen a few times a week;
until then the car's state stays as it was (docs/decisions/new-firmware.md).
"""

import numpy as np

from contract.state_layout import SEEN, StateLayout
from contract.telemetry import Floats
from scorer import metrics
from scorer.cars import CarTable, Mask
from scorer.index import CarNumbers

LASTING_SAMPLES = 16  # in a row with which the car would be learned anew
A_WEEK_MAX, _WEEK_MS = 3, 7 * 86_400_000


class Relearning:
    """How often each car was learned anew by one model."""

    def __init__(self, cars: CarTable) -> None:
        self._cars = cars
        self._in_a_row = cars.column(0, np.int8)  # samples that would have begun a car anew
        self._this_week = cars.column(0, np.int8)  # times that it was learned anew since `_since_ms`
        self._since_ms = cars.column(0, np.int64)
        self._doubtful = False  # whether any car has such samples

    def drop(self) -> None:
        """Free the arrays."""
        for column in (self._in_a_row, self._this_week, self._since_ms):
            self._cars.drop(column)

    def bound(self, cars: CarNumbers, before: Floats, after: Floats, layout: StateLayout) -> None:
        """Put back in `after` the states of cars that must not be learned anew now.

        before and after (n, width): the states around one sample each of n different cars.
        """
        # Usually a sample is counted until all are: the count stands or falls only where it begins anew.
        anew: Mask = after[:, SEEN] <= np.minimum(before[:, SEEN], layout.learning_samples - 1)
        if not (self._doubtful or anew.any()):
            return
        in_a_row = np.minimum(self._in_a_row.values.take(cars) + 1, LASTING_SAMPLES) * anew
        relearned = np.flatnonzero(in_a_row >= LASTING_SAMPLES)
        relearned = relearned[self._may_relearn(cars[relearned])]
        in_a_row[relearned] = 0
        anew[relearned] = False
        after[anew] = before[anew]
        self._in_a_row.values[cars] = in_a_row
        self._doubtful = bool(self._in_a_row.values.any())
        metrics.relearned.inc(len(relearned))
        metrics.relearning_put_off.inc(int(np.count_nonzero(anew)))

    def _may_relearn(self, cars: CarNumbers) -> Mask:
        """Whether each of n cars may be learned anew once more, which is then counted."""
        over = self._cars.now_ms - self._since_ms.values[cars] > _WEEK_MS
        self._since_ms.values[cars[over]] = self._cars.now_ms
        self._this_week.values[cars[over]] = 0
        may: Mask = self._this_week.values[cars] < A_WEEK_MAX
        self._this_week.values[cars[may]] += 1
        return may
