"""Whom this replica knows: a car's place in every array of per-car values, and a batch's records by car."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.joined import Joined
from scorer.index import Index, Places

Mask = NDArray[np.bool_]

_CAPACITY = 1024


class Column:
    """One value, or one row of values, of every car: `values[place]`. A new car has `fill`."""

    def __init__(self, capacity: int, fill: Any, dtype: Any, width: int | None) -> None:
        self._fill = fill
        shape = (capacity,) if width is None else (capacity, width)
        self.values: NDArray[Any] = np.full(shape, fill, dtype) if fill else np.zeros(shape, dtype)

    def grow(self, capacity: int) -> None:
        """Room for so many cars."""
        grown = np.empty((capacity, *self.values.shape[1:]), self.values.dtype)
        grown[: len(self.values)] = self.values
        grown[len(self.values) :] = self._fill
        self.values = grown

    def keep(self, places: Places, capacity: int) -> None:
        """Only the cars in `places` stay, in this order."""
        kept = self.values[places]
        self.values = kept[:0]
        self.grow(capacity)
        self.values[: len(kept)] = kept


class Cars:
    """All cars of this replica's partitions."""

    def __init__(self) -> None:
        self._index = Index()
        self._capacity = _CAPACITY
        self._columns: list[Column] = []
        self._partition = self.column(0, np.int32)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def ids(self) -> list[bytes]:
        """Of all cars, by their places."""
        return self._index.ids

    def column(self, fill: Any, dtype: Any, width: int | None = None) -> Column:
        """A new column, that grows and shrinks with the cars."""
        column = Column(self._capacity, fill, dtype, width)
        self._columns.append(column)
        return column

    def drop(self, column: Column) -> None:
        """A column that nobody needs any more."""
        self._columns.remove(column)

    def places(self, ids: Joined, partitions: NDArray[np.int32]) -> Places:
        """The place of each of n cars, known or new."""
        known = len(self)
        places = self._index.places(ids)
        if (count := len(self)) > known:
            if count > self._capacity:
                self._capacity = max(2 * self._capacity, count)
                for column in self._columns:
                    column.grow(self._capacity)
            self._partition.values[places] = partitions
        return places

    def of(self, partitions: Collection[int]) -> Places:
        """The cars of these partitions."""
        return np.flatnonzero(np.isin(self._partition.values[: len(self)], list(partitions)))

    def partitions(self, places: Places) -> NDArray[np.int32]:
        """The partition of each car."""
        partitions: NDArray[np.int32] = self._partition.values[places]
        return partitions

    def forget(self, partitions: Collection[int]) -> Places:
        """Drop the cars of partitions that another replica scores from now on.

        Returns the former places of those that stay, in the order of their new ones.
        """
        gone = np.zeros(len(self), np.bool_)
        gone[self.of(partitions)] = True
        kept = np.flatnonzero(~gone)
        self._index = Index([self.ids[place] for place in kept.tolist()])
        self._capacity = max(_CAPACITY, len(kept))
        for column in self._columns:
            column.keep(kept, self._capacity)
        return kept


@dataclass(frozen=True)
class ByCar:
    """n records sorted by car, those of a car in order of arrival.

    `cars` (n,) are the places as the records came, `order` (n,) the rows sorted; `car` (n,) and `first` (n,)
    are sorted: the place, and whether the record is the first one of its car.
    """

    cars: Places
    order: NDArray[np.intp]
    car: Places
    first: Mask

    @classmethod
    def of(cls, cars: Places) -> "ByCar":
        """Sorts n places."""
        # 16 bits are sorted by radix, in a sixth of the time.
        short = not len(cars) or cars.max() < 1 << 16
        order = np.argsort(cars.astype(np.uint16) if short else cars, kind="stable")
        car = cars.take(order)
        return cls(cars, order, car, _first(car))

    def chosen(self, chosen: Mask) -> tuple[NDArray[np.intp], Places]:
        """(rows, cars) of the chosen ones of n records, sorted by car."""
        if chosen.all():
            return self.order, self.car
        kept = chosen.take(self.order)
        return self.order[kept], self.car[kept]

    def rounds(self, chosen: Mask) -> "Rounds":
        """The chosen records (of n) in rounds."""
        order, car = self.chosen(chosen)
        return Rounds.of(order, car, self.first if car is self.car else _first(car))


@dataclass(frozen=True)
class Rounds:
    """m rows and their cars: first one of each car, then the second one of each that has two, and so on.

    A graph with state takes one sample of a car at a time. `spans`: each round's part of them.
    """

    rows: NDArray[np.intp]
    cars: Places
    spans: list[slice]

    @classmethod
    def of(cls, order: NDArray[np.intp], car: Places, first: Mask) -> "Rounds":
        """Of rows sorted by car (m,); `first` marks each car's first one."""
        starts = np.flatnonzero(first)
        if len(starts) == len(order):
            return cls(order, car, [slice(0, len(order))] * bool(len(order)))
        sizes = np.diff(starts, append=len(order))
        rank = np.arange(len(order)) - np.repeat(starts, sizes)
        by_rank = np.argsort(rank.astype(np.uint16) if len(rank) < 1 << 16 else rank, kind="stable")
        ends = [0, *np.cumsum(np.bincount(rank)).tolist()]
        return cls(order.take(by_rank), car.take(by_rank), list(map(slice, ends, ends[1:])))


def _first(car: Places) -> Mask:
    first = np.ones(len(car), np.bool_)
    first[1:] = car[1:] != car[:-1]
    return first
