"""The table of this replica's cars, and the records of a batch sorted by car."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.joined import Joined
from contract.varints import Longs
from scorer.index import CarNumbers, Index

Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]

_CAPACITY = 1024
_FEW_ROWS = 100  # which are put back faster by index


class Column:
    """One value, or one row of values, for every car: `values[number]`. A new car has `fill`."""

    def __init__(self, capacity: int, fill: Any, dtype: Any, width: int | None) -> None:
        self._fill = fill
        shape = (capacity,) if width is None else (capacity, width)
        self.values: NDArray[Any] = np.zeros(shape, dtype) if fill == 0 else np.full(shape, fill, dtype)

    def put(self, cars: CarNumbers, rows: NDArray[Any]) -> None:
        """Replace the rows of n different cars by those of an array (n, width): twice as fast as by index."""
        if len(rows) < _FEW_ROWS:
            self.values[cars] = rows
        elif self.values.shape[1]:
            row = np.dtype((np.void, self.values.shape[1] * self.values.itemsize))
            flat = np.ascontiguousarray(rows, self.values.dtype).view(row).reshape(-1)
            np.put(self.values.view(row).reshape(-1), cars, flat)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` cars."""
        grown = np.empty((capacity, *self.values.shape[1:]), self.values.dtype)
        grown[: len(self.values)] = self.values
        grown[len(self.values) :] = self._fill
        self.values = grown

    def keep(self, cars: CarNumbers, capacity: int) -> None:
        """Keep only these cars, which get the numbers 0, 1, … in this order."""
        self.values = self.values[cars]
        self.grow(capacity)


class CarTable:
    """All cars of this replica's partitions: their numbers, and columns with a value for each of them."""

    def __init__(self) -> None:
        self._index = Index()
        self._capacity = _CAPACITY
        self._columns: list[Column] = []
        self.partition = self.column(0, np.int32)
        self.now_ms = 0  # time of the newest sample of the last batch

    def __len__(self) -> int:
        return len(self._index)

    @property
    def ids(self) -> list[bytes]:
        """The ids of all cars, by their numbers."""
        return self._index.ids

    def column(self, fill: Any, dtype: Any, width: int | None = None) -> Column:
        """A new column, which grows and shrinks with the table."""
        column = Column(self._capacity, fill, dtype, width)
        self._columns.append(column)
        return column

    def drop(self, column: Column) -> None:
        """Remove a column."""
        self._columns.remove(column)

    def numbers(self, ids: Joined, partitions: NDArray[np.int32]) -> CarNumbers:
        """The numbers (n,) of n car ids; new cars are added, with the partition of their record."""
        known = len(self)
        numbers = self._index.numbers(ids)
        if (count := len(self)) > known:
            if count > self._capacity:
                self._capacity = max(2 * self._capacity, count)
                for column in self._columns:
                    column.grow(self._capacity)
            self.partition.values[numbers] = partitions
        return numbers

    def in_partitions(self, partitions: Collection[int]) -> CarNumbers:
        """The cars of these partitions."""
        return np.flatnonzero(np.isin(self.partition.values[: len(self)], list(partitions)))

    def forget(self, partitions: Collection[int]) -> None:
        """Drop the cars of partitions that another replica scores from now on; the others get new numbers."""
        self.leave(self.in_partitions(partitions))

    def leave(self, cars: CarNumbers) -> None:
        """Drop these cars; the others get new numbers."""
        kept = np.delete(np.arange(len(self)), cars)
        self._index = Index([self.ids[car] for car in kept.tolist()])
        self._capacity = max(_CAPACITY, len(kept))
        for column in self._columns:
            column.keep(kept, self._capacity)


@dataclass(frozen=True)
class ByCar:
    """n records sorted by car, those of a car in order of arrival."""

    cars: CarNumbers  # (n,) car of each record, in order of arrival
    order: Rows  # (n,) rows of the records, sorted by car
    car: CarNumbers  # (n,) car of each record, sorted
    first: Mask  # (n,) sorted: whether the record is the first one of its car

    @classmethod
    def of(cls, cars: CarNumbers) -> "ByCar":
        """Sort n records by their cars."""
        # numpy sorts 16-bit numbers by radix, in a sixth of the time.
        short = not len(cars) or cars.max() < 1 << 16
        order = np.argsort(cars.astype(np.uint16) if short else cars, kind="stable")
        car = cars.take(order)
        return cls(cars, order, car, _first(car))

    def chosen(self, chosen: Mask) -> tuple[Rows, CarNumbers]:
        """(rows, cars) of the records that the mask (n,) chooses, sorted by car."""
        if chosen.all():
            return self.order, self.car
        kept = chosen.take(self.order)
        return self.order[kept], self.car[kept]

    def rounds(self, chosen: Mask) -> "Rounds":
        """The records that the mask (n,) chooses, in rounds."""
        order, car = self.chosen(chosen)
        starts = np.flatnonzero(self.first if car is self.car else _first(car))
        if len(starts) == len(order):
            return Rounds(order, car, [slice(0, len(order))] * bool(len(order)))
        sizes = np.diff(starts, append=len(order))
        rank = np.arange(len(order)) - np.repeat(starts, sizes)
        by_rank = np.argsort(rank.astype(np.uint16) if len(rank) < 1 << 16 else rank, kind="stable")
        ends = [0, *np.cumsum(np.bincount(rank)).tolist()]
        return Rounds(order.take(by_rank), car.take(by_rank), list(map(slice, ends, ends[1:])))


@dataclass(frozen=True)
class Rounds:
    """m records in rounds: the first one of each car, then the second one of each car with two, and so on.

    A graph with state takes one sample of a car at a time.
    """

    rows: Rows  # (m,) rows of the records in the batch
    cars: CarNumbers  # (m,)
    spans: list[slice]  # of the m, those of each round

    def crowded(self, rounds_max: int, times_ms: Longs, apart_ms: float, since_ms: int) -> list[int]:
        """Rows of a car beyond its first `rounds_max` that no backlog explains.

        A car that catches up has samples of the last day, since `since_ms`, as far apart as it takes them,
        `apart_ms` at least. times_ms (n,): of all records of the batch.
        """
        begin, crowded = self.spans[rounds_max].start, []
        last_ms = dict(zip(self.cars[:begin].tolist(), times_ms[self.rows[:begin]].tolist(), strict=True))
        for row, car in zip(self.rows[begin:].tolist(), self.cars[begin:].tolist(), strict=True):
            at_ms = int(times_ms[row])
            if at_ms - last_ms[car] >= apart_ms and at_ms >= since_ms:
                last_ms[car] = at_ms
            else:
                crowded.append(row)
        return crowded

    def pieces(self, rows_max: int) -> Iterator[slice]:
        """The rounds in pieces of at most `rows_max` records."""
        for span in self.spans:
            for start in range(span.start, span.stop, rows_max):
                yield slice(start, min(start + rows_max, span.stop))


def _first(car: CarNumbers) -> Mask:
    first = np.ones(len(car), np.bool_)
    first[1:] = car[1:] != car[:-1]
    return first
