"""Which cars a model learns from and which it is judged on: decided for ever by a hash of the car's id.

As a car never changes its part, no model is judged on a car that an earlier model has learned from.
"""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TRAINING, CALIBRATION, TEST = range(3)
PARTS = ("training", "calibration", "test")
_SHARE = (0.6, 0.2, 0.2)
_SALT = b"split:"  # another hash than the partitioner's: every partition has cars of every part
_HASHES = 1 << 32


def parts_of(cars: Sequence[bytes]) -> NDArray[np.int8]:
    """TRAINING, CALIBRATION or TEST for each car id, (len(cars),)."""
    uniform = np.array([_mixed(zlib.crc32(_SALT + car)) for car in cars], np.float64) / _HASHES
    return np.searchsorted(np.cumsum(_SHARE)[:-1], uniform, side="right").astype(np.int8)


def _mixed(crc: int) -> int:
    """CRC-32 is linear and spreads consecutive ids regularly; multiplications break the pattern."""
    crc = (crc ^ crc >> 16) * 0x45D9F3B & 0xFFFFFFFF
    crc = (crc ^ crc >> 16) * 0x45D9F3B & 0xFFFFFFFF
    return crc ^ crc >> 16
