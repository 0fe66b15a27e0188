"""What has been scored: per car the highest seq, and the gaps below it that are still open.

`seq` has no gaps where nothing goes wrong, so one comparison tells a new record. A gap is remembered until it
is filled, because only so can a record that comes late be told from one that comes twice.
"""

import numpy as np

from contract.varints import Longs
from scorer.cars import ByCar, Cars, Mask
from scorer.index import Places

# Of a car; the oldest is given up for a newer one, its records then count as scored.
GAPS_MAX = 32
# Of a car before its first record; no seq is one more than this.
_UNKNOWN = np.iinfo(np.int64).min


class Memory:
    """What was seen of each car."""

    def __init__(self, cars: Cars) -> None:
        self._highest = cars.column(_UNKNOWN, np.int64)
        self._gaps: dict[int, list[range]] = {}

    def sift(self, by_car: ByCar, seq: Longs) -> tuple[Mask, Mask]:
        """Of n records: which were not seen before, and which of those come late; (n,).

        They count as seen from now on.
        """
        car, number, highest = by_car.car, seq.take(by_car.order), self._highest.values
        before = np.empty_like(number)
        before[1:] = number[:-1]
        before[by_car.first] = highest[car[by_car.first]]
        # A car that nothing is known of begins with whatever number it has.
        odd = (number != before + 1) & (before != _UNKNOWN)
        fresh, late = np.ones(len(car), np.bool_), np.zeros(len(car), np.bool_)
        if odd.any():
            of_odd_cars = np.isin(car, car[odd])
            for row in by_car.order[of_odd_cars].tolist():
                fresh[row], late[row] = self._take(int(by_car.cars[row]), int(seq[row]))
            car, number = car[~of_odd_cars], number[~of_odd_cars]
        highest[car] = number  # sorted: of several records of a car the last one stays
        return fresh, late

    def keep(self, places: Places) -> None:
        """Only the cars in `places` stay, which get the places 0, 1, … (`Cars.forget`)."""
        new = {old: place for place, old in enumerate(places.tolist())}
        self._gaps = {new[old]: gaps for old, gaps in self._gaps.items() if old in new}

    def _take(self, car: int, number: int) -> tuple[bool, bool]:
        """One record, whatever it is: (not seen before, and late)."""
        highest = int(self._highest.values[car])
        if number > highest:
            self._highest.values[car] = number
            if highest != _UNKNOWN and number > highest + 1:
                self._set_gaps(car, [*self._gaps.get(car, ()), range(highest + 1, number)])
            return True, False
        gaps = self._gaps.get(car, [])
        for place, gap in enumerate(gaps):
            if number in gap:
                parts = [part for part in (range(gap.start, number), range(number + 1, gap.stop)) if part]
                self._set_gaps(car, gaps[:place] + parts + gaps[place + 1 :])
                return True, True
        return False, False

    def _set_gaps(self, car: int, gaps: list[range]) -> None:
        if gaps:
            self._gaps[car] = gaps[-GAPS_MAX:]
        else:
            del self._gaps[car]
