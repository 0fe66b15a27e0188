"""Many byte strings as one, so that numpy reaches all of them at once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, pairwise
from typing import Any

from contract.varints import WORD_BYTES

_PADDING = bytes(WORD_BYTES)  # lets a whole word be read from any byte of the last value


@dataclass(frozen=True)
class Joined:
    """n values one after another, and padding."""

    data: bytes
    sizes: list[int]  # (n) bytes of each value
    same: int | None  # the size of all values; None if they differ or there are none

    @classmethod
    def of(cls, values: Sequence[Any]) -> "Joined":
        """Join n values, bytes or None, which counts as empty."""
        try:
            sizes = list(map(len, values))
        except TypeError:  # checking for None beforehand would cost as much as taking the lengths
            return cls.of([value or b"" for value in values])
        alike = bool(sizes) and sizes.count(sizes[0]) == len(sizes)
        return cls(b"".join([*values, _PADDING]), sizes, sizes[0] if alike else None)

    @classmethod
    def behind_each_other(cls, parts: Sequence["Joined"]) -> "Joined":
        """The values of all `parts`, of which there must be at least one."""
        data = b"".join([*(memoryview(part.data)[: -len(_PADDING)] for part in parts), _PADDING])
        (same, *others) = {part.same for part in parts}
        if same is None or others:
            return cls(data, list(chain.from_iterable(part.sizes for part in parts)), None)
        return cls(data, [same] * sum(map(len, parts)), same)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, row: int) -> bytes:
        """One value."""
        return self.data[self._bounds[row] : self._bounds[row + 1]]

    def __iter__(self) -> Iterator[bytes]:
        return (self.data[start:end] for start, end in pairwise(self._bounds))

    def take(self, rows: Iterable[int]) -> "Joined":
        """The values of these rows, in this order."""
        return Joined.of([self[row] for row in rows])

    @cached_property
    def _bounds(self) -> Sequence[int]:
        if self.same:
            return range(0, self.same * len(self) + 1, self.same)
        return list(accumulate(self.sizes, initial=0))
