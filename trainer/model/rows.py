"""The layout of the graph's arrays, and operations on it.

Inside the graph arrays are (quantities, cars); only the inputs of the network are (cars, quantities). TFLite
then handles a quantity of all cars at once; with (cars, quantities) it goes from car to car, which takes
eight times as long (docs/measurements.md).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats


def column(numbers: Any) -> Floats:
    """(k,) one number for each quantity, as (k, 1): it broadcasts over (k, n)."""
    return np.asarray(numbers, np.float32)[:, None]


def select(rows: Any, indices: Any) -> Any:
    """The rows (k, n) of (m, n) at `indices` (k,), which may repeat."""
    import tensorflow as tf

    return tf.gather(rows, np.asarray(indices, np.int32), axis=0)


def scatter(rows: Any, mask: NDArray[np.bool_]) -> Any:
    """Finite rows (k, n) put where `mask` (K,) is true, 0 elsewhere: (K, n)."""
    every = select(rows, np.maximum(np.cumsum(mask) - 1, 0))
    return every if mask.all() else every * column(mask)


def stack(*blocks: Any) -> Any:
    """Blocks (k, n) one below the other."""
    import tensorflow as tf

    return tf.concat(blocks, axis=0)


def matmul(matrix: NDArray[Any], rows: Any) -> Any:
    """The numbers of each car, rows (m, n), times the matrix (m, k): (k, n)."""
    import tensorflow as tf

    return tf.transpose(tf.transpose(rows) @ matrix.astype(np.float32))
