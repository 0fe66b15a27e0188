"""The number of a car by its id, for many cars at once.

A car's number is its row in every array of per-car values. A dict knows the number of every id. But thousands
of cars that take turns push the dict's entries and their ids out of the processor's cache: 0.1 µs and more a
look-up. So a large batch asks a hash table in numpy arrays first: an id's hash gives its slot, the slot gives
a number, and the words of that car's id tell whether it is the same id. Ids that are not in the table (new,
or their slot was taken by another) are looked up in the dict.
"""

import numpy as np
from numpy.typing import NDArray

from contract.joined import Joined
from contract.varints import WORD, WORD_BYTES, Words, at

CarNumbers = NDArray[np.intp]

# For fewer ids a dict is faster than some twenty calls of numpy.
_BATCH_MIN = 250
# With 16 to 32 slots a car 2 to 3 % of the cars share one. For 100 000 cars the slots take 8 MB.
_SLOTS_PER_CAR = 16
_CAPACITY = 1_024
# Multiplicative hashing: an odd constant from the golden ratio (Knuth, TAOCP volume 3, section 6.4).
_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
# By the number of bytes of an id from a word on (8: or more, -1: it ended in an earlier word): a mask for the
# bytes of the word that belong to the id, and a 1 behind the last byte, which tells ids apart that differ
# only in zero bytes at their ends.
_KEEP = np.array([(1 << 8 * left) - 1 for left in range(WORD_BYTES + 1)] + [0], np.uint64)
_END = np.array([1 << 8 * left for left in range(WORD_BYTES)] + [0, 0], np.uint64)


class _Numbering(dict[bytes, int]):
    """Gives a new key the next number."""

    def __missing__(self, key: bytes) -> int:
        number = self[key] = len(self)
        return number


class Index:
    """The ids of all cars by their numbers, and the numbers 0, 1, … by id."""

    def __init__(self, ids: list[bytes] | None = None) -> None:
        """`ids`: different ids, which get the numbers of their order."""
        self.ids = ids or []
        self._numbers = _Numbering(zip(self.ids, range(len(self.ids)), strict=True))
        self._in_table = 0  # cars that the table was filled with
        self._words: Words  # (w, capacity): the words of each car's id
        self._slots: NDArray[np.int32]  # a car's number, by hash
        self._empty_table(1, _CAPACITY)

    def __len__(self) -> int:
        return len(self.ids)

    def numbers(self, ids: Joined) -> CarNumbers:
        """The numbers (n,) of n ids; new ids get new numbers."""
        if len(ids) < _BATCH_MIN:
            return self._by_dict(ids)
        self._fill_table()
        words = _words(ids, len(self._words))
        if len(words) > len(self._words):  # an id is longer than all ids in the table
            return self._by_dict(ids)
        numbers = self._slots.take(self._slot(words)).astype(np.intp)
        missed = np.zeros(len(ids), np.bool_)
        for known, asked in zip(self._words, words, strict=True):
            missed |= known.take(numbers) != asked
        rows = np.flatnonzero(missed)
        if len(rows):
            numbers[rows] = self._by_dict(ids.take(rows.tolist()))
        return numbers

    def _by_dict(self, ids: Joined) -> CarNumbers:
        numbers = np.fromiter(map(self._numbers.__getitem__, ids), np.intp, len(ids))
        if len(self._numbers) > len(self.ids):
            self.ids += list(self._numbers)[len(self.ids) :]
        return numbers

    def _fill_table(self) -> None:
        """Add the cars that are not in the table yet; where they need more room, make a larger one."""
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
        """Make a table for ids of `width` words. Empty slots hold 0: the words of car 0 are another id's."""
        self._in_table = 0
        self._words = np.zeros((width, capacity), np.uint64)
        self._slots = np.zeros(_SLOTS_PER_CAR * capacity, np.int32)

    def _slot(self, words: Words) -> NDArray[np.int64]:
        """The slots (n,) of ids with these words (w, n)."""
        mixed = words[0] * _MIX
        for more in words[1:]:
            mixed = (mixed ^ mixed >> _HALF ^ more) * _MIX
        mixed = (mixed ^ mixed >> _HALF) * _MIX
        bits = len(self._slots).bit_length() - 1  # the number of slots is a power of two
        slots: NDArray[np.int64] = (mixed >> np.uint64(8 * WORD_BYTES - bits)).view(np.int64)
        return slots


def _words(ids: Joined, width: int) -> Words:
    """(w, n), w at least `width`: the bytes of each of n ids, a 1, then zeros. Different ids differ."""
    sizes = np.array(ids.sizes if ids.same is None else [ids.same])
    starts = np.cumsum(sizes) - sizes
    words = np.zeros((max(width, int(sizes.max()) // WORD_BYTES + 1), len(ids)), np.uint64)
    for number, word in enumerate(words):
        left = np.clip(sizes - number * WORD_BYTES, -1, WORD_BYTES)
        if left.max() < 0:
            break
        offset = number * WORD_BYTES
        if ids.same is None:
            last = len(ids.data) - WORD_BYTES
            raw = at(ids.data, np.minimum(starts + offset, last))
        else:
            raw = np.ndarray((len(ids),), WORD, ids.data, offset, (ids.same,))
        np.bitwise_or(raw & _KEEP[left], _END[left], out=word)
    return words
