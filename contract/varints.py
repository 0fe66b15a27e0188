"""Avro's longs, many at once: zigzag varints of up to 8 bytes in 64-bit words.

A varint has 7 bits in each byte, the lowest first; a set top bit means that another byte follows.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Longs = NDArray[np.int64]
Words = NDArray[np.uint64]

WORD_BYTES = 8
WORD = np.dtype("<u8")

TOP_BITS = np.uint64(0x8080808080808080)
_7_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
# For groups of 7, 14 and 28 bits: masks of the lower and the higher neighbours, and the shift of the higher.
_STEPS = tuple(
    (np.uint64(lower), np.uint64(higher), np.uint64(shift))
    for lower, higher, shift in (
        (0x007F007F007F007F, 0x7F007F007F007F00, 1),
        (0x00003FFF00003FFF, 0x3FFF00003FFF0000, 2),
        (0x000000000FFFFFFF, 0x0FFFFFFF00000000, 4),
    )
)
# Zigzag values from which on a varint has one byte more.
_GROWS_AT = 1 << 7 * np.arange(1, WORD_BYTES)
# The top bits of a whole varint by its size in bytes. No word matches the mask of size 0.
_WHOLE = np.array(
    [2**64 - 1, *(int.from_bytes(bytes([0x80] * (size - 1)), "little") for size in range(1, 9))], np.uint64
)


def at(data: bytes, offsets: Longs, dtype: np.dtype[Any] = WORD) -> NDArray[Any]:
    """The items of `dtype` that begin at these offsets of `data`. Raises IndexError if one does not fit."""
    every: NDArray[Any] = np.ndarray((len(data) - dtype.itemsize + 1,), dtype, data, strides=(1,))
    return every[offsets]


def low_bytes(count: int) -> np.uint64:
    """A mask of the lowest bytes of a word, which come first in memory."""
    return np.uint64((1 << 8 * count) - 1)


def whole(words: Words, sizes: Longs | int) -> NDArray[np.bool_]:
    """Whether each word is one varint of exactly `sizes` bytes; its other bytes must be 0."""
    matches: NDArray[np.bool_] = words & TOP_BITS == _WHOLE[sizes]
    return matches


def longs(words: Words) -> Longs:
    """The numbers whose varints are in `words`. Three steps close the gaps of all bytes at once."""
    bits = words & _7_BITS
    for lower, higher, shift in _STEPS:
        bits = bits & lower | (bits & higher) >> shift
    zigzag = bits.view(np.int64)
    return zigzag >> 1 ^ -(zigzag & 1)


def packed(numbers: Longs, bytes_max: int) -> tuple[NDArray[np.uint8], Longs]:
    """(varints (n, bytes_max) of n numbers, right-aligned in their rows; their sizes (n,) in bytes)."""
    zigzag = _zigzag(numbers)
    sizes = 1 + np.searchsorted(_GROWS_AT, zigzag, side="right")
    words = (_spread(zigzag) | _WHOLE[sizes]) << (8 * (bytes_max - sizes)).astype(np.uint64)
    return _bytes(words, bytes_max), sizes


def padded(numbers: Longs, size: int) -> NDArray[np.uint8]:
    """The varints (n, size) of n numbers; shorter ones are padded with zeros, which every reader accepts."""
    return _bytes(_spread(_zigzag(numbers)) | _WHOLE[size], size)


def _zigzag(numbers: Longs) -> Longs:
    return numbers << 1 ^ numbers >> 63


def _spread(zigzag: Longs) -> Words:
    """7 bits into each byte: the steps of `longs` in reverse."""
    bits: Words = zigzag.view(np.uint64)
    for lower, higher, shift in reversed(_STEPS):
        bits = bits & lower | bits << shift & higher
    return bits


def _bytes(words: Words, count: int) -> NDArray[np.uint8]:
    return words.astype(WORD, copy=False).view(np.uint8).reshape(-1, WORD_BYTES)[:, :count]


def varint(number: int) -> bytes:
    """The varint of one number, 0 or more."""
    zigzag, data = number << 1, bytearray()
    while zigzag > 0x7F:
        data.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    return bytes((*data, zigzag))


def string(data: bytes) -> bytes:
    """Avro's encoding of a string; `data` is its UTF-8."""
    size = len(data)
    return (bytes((size << 1,)) if size < 1 << 6 else varint(size)) + data
