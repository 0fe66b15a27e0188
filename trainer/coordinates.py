"""From raw signals to coordinates: the signals, then the ratios of the domain.

Written in TensorFlow's operations, so that the very same code runs in training and inside the graph that the
scorers get. A ratio says how strongly a part reacts to the driving: its logarithm has the same spread at
every speed, and a worn part moves it by the same amount everywhere. What is linear, like the spread of four
tyres, needs no ratio: the model's linear part makes it by itself.
"""

from typing import Any

import numpy as np

from contract.signals import Ratio
from trainer.domain import Domain


def coordinates(domain: Domain, signals: Any) -> Any:
    """(n, K) finite signals to (n, width) coordinates: the signals, then the ratios.

    Columns are picked and combined by constant matrices: TFLite gathers columns ten times more slowly.
    """
    import tensorflow as tf

    if not domain.ratios:
        return tf.convert_to_tensor(signals, tf.float32)
    logarithms = [ratio for ratio in domain.ratios if ratio.logarithm]
    quotients = [ratio for ratio in domain.ratios if not ratio.logarithm]
    found = []
    if logarithms:
        pick, offset, combine = _of_logarithms(domain, logarithms)
        found.append(tf.math.log(tf.abs(signals @ pick) + offset) @ combine)
    found += [_quotient(domain, ratio, signals) for ratio in quotients]
    order = [domain.ratios.index(ratio) for ratio in (*logarithms, *quotients)]
    derived = found[0] if len(found) == 1 else tf.concat(found, axis=1)
    if order != sorted(order):
        derived = derived @ picks(len(order), np.argsort(order))
    return tf.concat([signals, derived], axis=1)


def _of_logarithms(domain: Domain, ratios: list[Ratio]) -> tuple[Any, Any, Any]:
    """(K, m), (m,), (m, ratios): of the logarithms log(|signals @ pick| + offset), combined to the ratios.

    A signal that stands in several ratios with the same offset has one logarithm.
    """
    terms: dict[tuple[int, float], int] = {}
    combine = []
    for ratio in ratios:
        parts = (
            (domain.place(ratio.numerator[0]), ratio.numerator_offset, 1.0),
            (domain.place(ratio.denominator), ratio.denominator_offset, -ratio.power),
        )
        combine.append({terms.setdefault(part[:2], len(terms)): part[2] for part in parts})
    matrix = np.zeros((len(terms), len(ratios)), np.float32)
    for column, weights in enumerate(combine):
        matrix[list(weights), column] = list(weights.values())
    signals, offsets = zip(*terms, strict=True)
    return picks(domain.count, list(signals)), np.array(offsets, np.float32), matrix


def _quotient(domain: Domain, ratio: Ratio, signals: Any) -> Any:
    """(n, 1): the product of the numerators over the denominator, within its bounds."""
    import tensorflow as tf

    names = (*ratio.numerator, ratio.denominator)
    picked = signals @ picks(domain.count, [domain.place(name) for name in names])
    product = picked[:, :1]
    for column in range(1, len(ratio.numerator)):
        product = product * picked[:, column : column + 1]
    under = ratio.unit * tf.abs(picked[:, len(ratio.numerator) :]) + ratio.unit * ratio.denominator_offset
    return tf.clip_by_value(product / under, -ratio.most, ratio.most)


def picks(width: int, columns: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(width, k): what (n, width) is multiplied by to get its `columns` (k); exact where all is finite."""
    return np.eye(width, dtype=np.float32)[:, columns]
