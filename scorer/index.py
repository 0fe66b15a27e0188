"""A car's place by its id, for many cars at once.

Thousands of cars that take turns push a dict's entries and their ids out of the processor's cache: 0.1 µs
and more a look-up. So a large batch asks a table of numpy's first. An id's hash points to its slot there, and
the words of the id that has the slot tell whether it is this one. Whom the table does not have, the dict
knows: a new car, or one whose slot another took.
"""

import numpy as np
from numpy.typing import NDArray

from contract.joined import Joined
from contract.varints import WORD, WORD_BYTES, Words, at

Places = NDArray[np.intp]

# Of fewer cars a dict is quicker than some twenty calls of numpy.
_BATCH_MIN = 250
# With 16 to 32 slots a car 2 to 3 % of them share one. 8 MB for 100 000 cars.
_SLOTS_PER_CAR = 16
_CAPACITY = 1_024
# Odd and without a pattern: the golden ratio's.
_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
# By how many bytes of an id are left from a word on (8: or more, -1: it has ended before): what of the word
# is the id's; and the 1 behind its last byte, which tells ids apart that differ in zeros at their end.
_KEEP = np.array([(1 << 8 * left) - 1 for left in range(WORD_BYTES + 1)] + [0], np.uint64)
_END = np.array([1 << 8 * left for left in range(WORD_BYTES)] + [0, 0], np.uint64)


class _Dict(dict[bytes, int]):
    """A new car gets the next place."""

    def __missing__(self, key: bytes) -> int:
        place = self[key] = len(self)
        return place


class Index:
    """Ids, `ids[place]`, and the places 0, 1, … of each."""

    def __init__(self, ids: list[bytes] | None = None) -> None:
        """Of different ids."""
        self.ids = ids or []
        self._places = _Dict(zip(self.ids, range(len(self.ids)), strict=True))
        self._in_table = 0
        self._words: Words
        self._slots: NDArray[np.int32]
        self._empty_table(1, _CAPACITY)

    def __len__(self) -> int:
        return len(self.ids)

    def places(self, ids: Joined) -> Places:
        """The place of each of n cars, known or new."""
        if len(ids) < _BATCH_MIN:
            return self._ask(ids)
        self._fill_table()
        words = _words(ids, len(self._words))
        if len(words) > len(self._words):  # longer than any in the table
            return self._ask(ids)
        places: Places = self._slots.take(self._slot(words)).astype(np.intp)
        missed = np.zeros(len(ids), np.bool_)
        for known, asked in zip(self._words, words, strict=True):
            missed |= known.take(places) != asked
        rows = np.flatnonzero(missed)
        if len(rows):
            places[rows] = self._ask(ids.take(rows.tolist()))
        return places

    def _ask(self, ids: Joined) -> Places:
        """The dict."""
        places = np.fromiter(map(self._places.__getitem__, ids), np.intp, len(ids))
        if len(self._places) > len(self.ids):
            self.ids += list(self._places)[len(self.ids) :]
        return places

    def _fill_table(self) -> None:
        """With the cars that came since; all of them, where they need more room."""
        count = len(self.ids)
        if self._in_table == count:
            return
        width, capacity = self._words.shape
        words = _words(Joined.of(self.ids[self._in_table :]), width)
        if len(words) > width or count > capacity:
            while capacity < count:
                capacity *= 2
            self._empty_table(len(words), capacity)
            words = _words(Joined.of(self.ids), len(words))
        self._words[:, self._in_table : count] = words
        self._slots[self._slot(words)] = np.arange(self._in_table, count)
        self._in_table = count

    def _empty_table(self, width: int, capacity: int) -> None:
        """For ids of so many words. What no car has is place 0, whose words are another id's, or none's."""
        self._in_table = 0
        self._words = np.zeros((width, capacity), np.uint64)
        self._slots = np.zeros(_SLOTS_PER_CAR * capacity, np.int32)

    def _slot(self, words: Words) -> NDArray[np.int64]:
        """The slot (n,) of ids with these words (w, n)."""
        mixed = words[0] * _MIX
        for more in words[1:]:
            mixed = (mixed ^ mixed >> _HALF ^ more) * _MIX
        mixed = (mixed ^ mixed >> _HALF) * _MIX
        bits = len(self._slots).bit_length() - 1  # a power of two
        slots: NDArray[np.int64] = (mixed >> np.uint64(8 * WORD_BYTES - bits)).view(np.int64)
        return slots


def _words(ids: Joined, width: int) -> Words:
    """(w, n), w at least `width`: the bytes of each of n ids, a 1, and zeros; different for different ids."""
    sizes = np.array(ids.sizes if ids.same is None else [ids.same])
    starts = np.cumsum(sizes) - sizes
    words = np.zeros((max(width, int(sizes.max()) // WORD_BYTES + 1), len(ids)), np.uint64)
    for number, word in enumerate(words):
        left = np.clip(sizes - number * WORD_BYTES, -1, WORD_BYTES)
        if left.max() < 0:
            break
        place = number * WORD_BYTES
        if ids.same is None:
            last = len(ids.data) - WORD_BYTES
            bytes_of = at(ids.data, np.minimum(starts + place, last))
        else:
            bytes_of = np.ndarray((len(ids),), WORD, ids.data, place, (ids.same,))
        np.bitwise_or(bytes_of & _KEEP[left], _END[left], out=word)
    return words
