"""Many values as one, so that numpy reaches all of them at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from typing import Any

from contract.varints import WORD_BYTES

_ROOM = bytes(WORD_BYTES)  # behind the last value: a word can be read from each of its bytes on


@dataclass(frozen=True)
class Joined:
    """n values behind each other, and room for one more word; the sizes of the values and of their keys.

    Sizes are in bytes; what is None counts as empty.
    """

    data: bytes
    sizes: list[int]
    key_sizes: list[int]

    @classmethod
    def of(cls, values: Sequence[bytes | None], keys: Sequence[bytes | None]) -> "Joined":
        """Of n values and their keys."""
        try:
            return cls._of(values, keys)
        except TypeError:  # looking for None beforehand costs as much as taking the lengths
            return cls._of([v or b"" for v in values], [k or b"" for k in keys])

    @classmethod
    def _of(cls, values: Sequence[Any], keys: Sequence[Any]) -> "Joined":
        return cls(b"".join([*values, _ROOM]), list(map(len, values)), list(map(len, keys)))

    @classmethod
    def behind_each_other(cls, parts: Sequence["Joined"]) -> "Joined":
        """All values of several."""
        data = b"".join([*(memoryview(part.data)[: -len(_ROOM)] for part in parts), _ROOM])
        sizes = list(chain.from_iterable(part.sizes for part in parts))
        return cls(data, sizes, list(chain.from_iterable(part.key_sizes for part in parts)))

    def __getitem__(self, row: int) -> bytes:
        """One value."""
        return self.data[self._bounds[row] : self._bounds[row + 1]]

    @cached_property
    def _bounds(self) -> list[int]:
        return list(accumulate(self.sizes, initial=0))
