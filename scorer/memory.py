"""What has been scored: per car the highest seq, and the numbers below it that are still missing.

`seq` has no gaps where nothing goes wrong, so one comparison tells a new record. A gap is remembered number
by number, because only so can a record that comes late be told from one that comes twice.
"""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Longs

_UNKNOWN = -1
# A car that jumps further ahead than this has lost those records for good.
MISSING_MAX = 1_000


class _Index(dict[bytes, int]):
    """Car id to its place in the arrays; a new car gets the next one."""

    def __missing__(self, key: bytes) -> int:
        place = self[key] = len(self)
        return place


class Memory:
    """All cars of this replica's partitions."""

    def __init__(self) -> None:
        self._index = _Index()
        self._highest: Longs = np.full(1024, _UNKNOWN, np.int64)
        self._partition = np.zeros(1024, np.int32)
        self._missing: dict[int, set[int]] = {}

    def __len__(self) -> int:
        return len(self._index)

    def sift(
        self, keys: Sequence[bytes], partitions: NDArray[np.int32], seq: Longs
    ) -> tuple[NDArray[np.bool_], int]:
        """Which of n records, in order of arrival, were not seen before (n,), and how many of those are late.

        They count as seen from now on.
        """
        index = self._index
        cars = np.array([index[key] for key in keys], np.intp)
        self._grow(len(index))
        self._partition[cars] = partitions
        order = np.argsort(cars, kind="stable")
        car, number = cars[order], seq[order]
        first = np.ones(len(car), np.bool_)
        first[1:] = car[1:] != car[:-1]
        before = np.empty_like(number)
        before[1:] = number[:-1]
        before[first] = self._highest[car[first]]
        regular = (number == before + 1) | (before == _UNKNOWN)
        fresh = np.ones(len(cars), np.bool_)
        late = 0
        if not regular.all():
            odd_cars = np.unique(car[~regular])
            odd = np.nonzero(np.isin(cars, odd_cars))[0]
            late = self._sift_singly(cars, seq, odd, fresh)
            rest = ~np.isin(car, odd_cars)
            car, number = car[rest], number[rest]
        self._highest[car] = number  # sorted: of several records of a car the last one stays
        return fresh, late

    def forget(self, partitions: Collection[int]) -> None:
        """Drop the cars of partitions that another replica scores from now on."""
        kept = [
            (key, place) for key, place in self._index.items() if self._partition[place] not in partitions
        ]
        places = np.array([place for _, place in kept], np.intp)
        self._missing = {
            new: self._missing[place] for new, (_, place) in enumerate(kept) if place in self._missing
        }
        self._highest, self._partition = self._highest[places], self._partition[places]
        self._index = _Index((key, new) for new, (key, _) in enumerate(kept))

    def _sift_singly(
        self, cars: NDArray[np.intp], seq: Longs, rows: NDArray[np.intp], fresh: NDArray[np.bool_]
    ) -> int:
        """Cars with a gap or a repetition, record by record; marks `fresh`, returns how many are late."""
        late = 0
        for row in rows.tolist():
            car, number = int(cars[row]), int(seq[row])
            highest = int(self._highest[car])
            if number > highest or highest == _UNKNOWN:
                if highest != _UNKNOWN and number > highest + 1:
                    gap = range(max(highest + 1, number - MISSING_MAX), number)
                    self._missing.setdefault(car, set()).update(gap)
                    self._bound(car)
                self._highest[car] = number
            elif number in self._missing.get(car, ()):
                late += 1
                self._missing[car].discard(number)
            else:
                fresh[row] = False
        return late

    def _bound(self, car: int) -> None:
        missing = self._missing[car]
        for number in sorted(missing)[: max(0, len(missing) - MISSING_MAX)]:
            missing.discard(number)

    def _grow(self, cars: int) -> None:
        if cars > len(self._highest):
            more = max(1024, cars)
            self._highest = np.concatenate([self._highest, np.full(more, _UNKNOWN, np.int64)])
            self._partition = np.concatenate([self._partition, np.zeros(more, np.int32)])
