"""A number of each car that never changes: it decides which part of the fleet the car belongs to."""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_HASHES = 1 << 32


def uniforms(cars: Sequence[bytes], salt: bytes) -> NDArray[np.float64]:
    """(len(cars),) evenly spread numbers from 0 to below 1; another salt gives independent ones.

    The hash is another than the partitioner's: every partition has cars of every share.
    """
    return np.array([_mixed(zlib.crc32(salt + car)) for car in cars], np.float64) / _HASHES


def _mixed(crc: int) -> int:
    """CRC-32 is linear and spreads consecutive ids regularly; multiplications break the pattern."""
    crc = (crc ^ crc >> 16) * 0x45D9F3B & 0xFFFFFFFF
    crc = (crc ^ crc >> 16) * 0x45D9F3B & 0xFFFFFFFF
    return crc ^ crc >> 16
