"""Many values as one, so that numpy reaches all of them at once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, pairwise
from typing import Any

from contract.varints import WORD_BYTES

_ROOM = bytes(WORD_BYTES)  # behind the last value: a word can be read from each of its bytes on


@dataclass(frozen=True)
class Joined:
    """n values behind each other, and room for one more word.

    `sizes` in bytes; `same`: the size of all, None where they differ or there are none.
    """

    data: bytes
    sizes: list[int]
    same: int | None

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> "Joined":
        """Of n values; None counts as empty."""
        try:
            return cls._of(values)
        except TypeError:  # looking for None beforehand costs as much as taking the lengths
            return cls._of([value or b"" for value in values])

    @classmethod
    def _of(cls, values: Sequence[Any]) -> "Joined":
        sizes = list(map(len, values))
        alike = bool(sizes) and sizes.count(sizes[0]) == len(sizes)
        return cls(b"".join([*values, _ROOM]), sizes, sizes[0] if alike else None)

    @classmethod
    def behind_each_other(cls, parts: Sequence["Joined"]) -> "Joined":
        """All values of several, at least one."""
        data = b"".join([*(memoryview(part.data)[: -len(_ROOM)] for part in parts), _ROOM])
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
        """Some of the values, in this order."""
        return Joined.of([self[row] for row in rows])

    @cached_property
    def _bounds(self) -> Sequence[int]:
        if self.same:
            return range(0, self.same * len(self) + 1, self.same)
        return list(accumulate(self.sizes, initial=0))
