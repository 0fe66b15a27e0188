"""Which cars a model learns from and which it is judged on: decided for ever by a hash of the car's id.

As a car never changes its part, no model is judged on a car that an earlier model has learned from.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contract.car_hash import uniforms

TRAINING, CALIBRATION, TEST = range(3)
PARTS = ("training", "calibration", "test")
_SHARE = (0.6, 0.2, 0.2)
_SALT = b"split:"


def parts_of(cars: Sequence[bytes]) -> NDArray[np.int8]:
    """TRAINING, CALIBRATION or TEST for each car id, (len(cars),)."""
    return np.searchsorted(np.cumsum(_SHARE)[:-1], uniforms(cars, _SALT), side="right").astype(np.int8)
