"""Avro's longs, many at once: zigzag varints of up to 8 bytes, held in 64-bit words.

A varint has 7 bits in each byte, the lowest first; the top bit says that another byte follows.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Longs = NDArray[np.int64]
Words = NDArray[np.uint64]

WORD_BYTES = 8
WORD = np.dtype("<u8")

_TOP_BITS = np.uint64(0x8080808080808080)
_7_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
# Neighbours of 7, of 14 and of 28 bits: the lower ones, the higher ones, and by how much these move.
_STEPS = tuple(
    (np.uint64(lower), np.uint64(higher), np.uint64(shift))
    for lower, higher, shift in (
        (0x007F007F007F007F, 0x7F007F007F007F00, 1),
        (0x00003FFF00003FFF, 0x3FFF00003FFF0000, 2),
        (0x000000000FFFFFFF, 0x0FFFFFFF00000000, 4),
    )
)
# From these on a zigzag takes one byte more.
_GROWS_AT = 1 << 7 * np.arange(1, WORD_BYTES)
# By size in bytes. A size of 0 has no varint and is never whole: no top bits are all bits.
_WHOLE = np.array(
    [2**64 - 1, *(int.from_bytes(bytes([0x80] * (size - 1)), "little") for size in range(1, 9))], np.uint64
)


def at(data: bytes, places: Longs, dtype: np.dtype[Any] = WORD) -> NDArray[Any]:
    """The items of `dtype` that begin at `places` of `data`. Raises IndexError for one that does not fit."""
    every: NDArray[Any] = np.ndarray((len(data) - dtype.itemsize + 1,), dtype, data, strides=(1,))
    return every[places]


def low_bytes(count: int) -> np.uint64:
    """A mask for the lowest bytes of a word, which are the first ones of `data`."""
    return np.uint64((1 << 8 * count) - 1)


def whole(words: Words, sizes: Longs | int) -> NDArray[np.bool_]:
    """Whether the low `sizes` bytes of each word, the others being 0, are one varint, from first to last."""
    found: NDArray[np.bool_] = words & _TOP_BITS == _WHOLE[sizes]
    return found


def longs(words: Words) -> Longs:
    """The numbers whose varints stand in `words`. The bits of all bytes move together, in three steps."""
    bits = words & _7_BITS
    for lower, higher, shift in _STEPS:
        bits = bits & lower | (bits & higher) >> shift
    zigzag = bits.view(np.int64)
    return zigzag >> 1 ^ -(zigzag & 1)


def packed(numbers: Longs, bytes_max: int) -> tuple[NDArray[np.uint8], Longs]:
    """The varints (n, bytes_max) of n numbers, each at the end of its row; and their sizes (n,)."""
    zigzag = _zigzag(numbers)
    sizes = 1 + np.searchsorted(_GROWS_AT, zigzag, side="right")
    words = (_spread(zigzag) | _WHOLE[sizes]) << (8 * (bytes_max - sizes)).astype(np.uint64)
    return _bytes(words, bytes_max), sizes


def padded(numbers: Longs, size: int) -> NDArray[np.uint8]:
    """The varints (n, size) of n numbers, shorter ones with zeros behind, which every reader takes."""
    return _bytes(_spread(_zigzag(numbers)) | _WHOLE[size], size)


def _zigzag(numbers: Longs) -> Longs:
    return numbers << 1 ^ numbers >> 63


def _spread(zigzag: Longs) -> Words:
    """7 bits in each byte: the steps of `longs` backwards."""
    bits: Words = zigzag.view(np.uint64)
    for lower, higher, shift in reversed(_STEPS):
        bits = bits & lower | bits << shift & higher
    return bits


def _bytes(words: Words, count: int) -> NDArray[np.uint8]:
    return words.astype(WORD, copy=False).view(np.uint8).reshape(-1, WORD_BYTES)[:, :count]


def varint(number: int) -> bytes:
    """The varint of one number from 0 up."""
    zigzag, found = number << 1, bytearray()
    while zigzag > 0x7F:
        found.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    return bytes((*found, zigzag))


def string(data: bytes) -> bytes:
    """Avro's string of some UTF-8."""
    size = len(data)
    return (bytes((size << 1,)) if size < 1 << 6 else varint(size)) + data
