"""Tables of the graph with a row for each quantity and in it a number of each of n cars.

What holds for a quantity then meets a whole row at once, and what holds for a car its number in every row.
With a row for each car TFLite goes from car to car, which takes eight times as long (docs/measurements.md).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats


def column(numbers: Any) -> Floats:
    """(k,) numbers, one for each row, as (k, 1), for (k, n)."""
    return np.asarray(numbers, np.float32)[:, None]


def picked(rows: Any, places: Any) -> Any:
    """The rows (k, n) of (m, n) that stand at `places` (k,), each as often as it is named."""
    import tensorflow as tf

    return tf.gather(rows, np.asarray(places, np.int32), axis=0)


def spread_out(rows: Any, which: NDArray[np.bool_]) -> Any:
    """The rows (k, n), finite, at the k of K places that `which` (K,) names, 0 elsewhere: (K, n)."""
    every = picked(rows, np.maximum(np.cumsum(which) - 1, 0))
    return every if which.all() else every * column(which)


def stacked(*blocks: Any) -> Any:
    """Blocks of rows (k, n), one below the other."""
    import tensorflow as tf

    return tf.concat(blocks, axis=0)


def times(matrix: NDArray[Any], rows: Any) -> Any:
    """(m, k) and (m, n) to (k, n): the numbers of each car (m,) times the matrix."""
    import tensorflow as tf

    return tf.transpose(tf.transpose(rows) @ matrix.astype(np.float32))
