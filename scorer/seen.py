"""The sequence numbers seen of each car: the highest one, and the gaps below it that are still open.

Without losses `seq` has no gaps, so one comparison recognises a new record. A gap is remembered until it is
filled: only so can a late record be told from a duplicate.
"""

import numpy as np

from contract.varints import Longs
from scorer.cars import ByCar, CarTable, Mask

# Gaps remembered for a car. Above it the oldest gap is dropped, and its records count as seen.
GAPS_MAX = 32
# Highest seq of a car before its first record; no seq is one more than this.
_UNKNOWN = np.iinfo(np.int64).min


class SeenSequences:
    """Recognises new, late and repeated records by their car and `seq`."""

    def __init__(self, cars: CarTable) -> None:
        self._highest = cars.column(_UNKNOWN, np.int64)
        self._gaps = cars.column(None, object)  # a car's open gaps, list[range], ascending; None: no gap yet

    def sift(self, by_car: ByCar, seq: Longs) -> tuple[Mask, Mask]:
        """(fresh (n,), late (n,)) for n records with `seq` (n,), which count as seen from now on.

        Fresh: not seen before. Late: fresh, but older than the newest record of its car.
        """
        car, sorted_seq, highest = by_car.car, seq.take(by_car.order), self._highest.values
        before = np.empty_like(sorted_seq)
        before[1:] = sorted_seq[:-1]
        before[by_car.first] = highest[car[by_car.first]]
        # The first record of an unknown car may have any seq.
        odd = (sorted_seq != before + 1) & (before != _UNKNOWN)
        fresh, late = np.ones(len(car), np.bool_), np.zeros(len(car), np.bool_)
        if odd.any():
            is_odd_car = np.isin(car, car[odd])
            for row in by_car.order[is_odd_car].tolist():
                fresh[row], late[row] = self._see(int(by_car.cars[row]), int(seq[row]))
            car, sorted_seq = car[~is_odd_car], sorted_seq[~is_odd_car]
        highest[car] = sorted_seq  # of several records of a car the last one is stored
        return fresh, late

    def _see(self, car: int, seq: int) -> tuple[bool, bool]:
        """(fresh, late) for one record of a car with gaps or repetitions."""
        highest, gaps = int(self._highest.values[car]), self._gaps.values[car] or []
        if seq > highest:
            self._highest.values[car] = seq
            if highest != _UNKNOWN and seq > highest + 1:
                self._gaps.values[car] = [*gaps, range(highest + 1, seq)][-GAPS_MAX:]
            return True, False
        for number, gap in enumerate(gaps):
            if seq in gap:
                parts = [part for part in (range(gap.start, seq), range(seq + 1, gap.stop)) if part]
                self._gaps.values[car] = (gaps[:number] + parts + gaps[number + 1 :])[-GAPS_MAX:]
                return True, True
        return False, False
