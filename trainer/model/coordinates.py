"""From raw signals to coordinates: the signals, then the ratios of the domain.

It is written in TensorFlow's operations, so training and scorers run the same code. A ratio says how strongly
a part reacts to the driving: its logarithm has the same spread at every speed, and a worn part moves it by
the same amount everywhere. Linear relations, like the spread of four tyres, need no ratio: the regression
finds them.
"""

from typing import Any

import numpy as np

from contract.signals import Ratio
from trainer.model.domain import Domain
from trainer.model.rows import column, select, stack


def coordinates(domain: Domain, signals: Any) -> Any:
    """(K, n) finite signals to (width, n) coordinates."""
    logarithms = [ratio for ratio in domain.ratios if ratio.logarithm]
    quotients = [ratio for ratio in domain.ratios if not ratio.logarithm]
    blocks = [_logarithms(domain, logarithms, signals)] if logarithms else []
    blocks += [_quotient(domain, ratio, signals) for ratio in quotients]
    order = [domain.ratios.index(ratio) for ratio in (*logarithms, *quotients)]
    if order != sorted(order):
        blocks = [select(stack(*blocks), np.argsort(order))]
    return stack(signals, *blocks)


def presence(domain: Domain, present: Any) -> Any:
    """The mask (width, n) of coordinates from that of signals (K, n): 1 where no part is missing, else 0."""
    parts = [np.flatnonzero(mask) for mask in domain.parts()[domain.count :]]
    if not parts:
        return present
    # Every ratio gets equally many factors; a part that repeats changes nothing.
    first, *others = np.array([np.resize(indices, max(map(len, parts))) for indices in parts]).T
    product = select(present, first)
    for other in others:
        product = product * select(present, other)
    return stack(present, product)


def _logarithms(domain: Domain, ratios: list[Ratio], signals: Any) -> Any:
    """(ratios, n): log(|numerator| + its offset) - power * log(|denominator| + its offset)."""
    import tensorflow as tf

    above = tf.abs(select(signals, [domain.index(ratio.numerator[0]) for ratio in ratios]))
    under = tf.abs(select(signals, [domain.index(ratio.denominator) for ratio in ratios]))
    above = tf.math.log(above + column([ratio.numerator_offset for ratio in ratios]))
    under = tf.math.log(under + column([ratio.denominator_offset for ratio in ratios]))
    return above - under * column([ratio.power for ratio in ratios])


def _quotient(domain: Domain, ratio: Ratio, signals: Any) -> Any:
    """(1, n): the product of the numerators over the denominator, clipped to ±most."""
    import tensorflow as tf

    product, *others = (select(signals, [domain.index(name)]) for name in ratio.numerator)
    for other in others:
        product = product * other
    under = tf.abs(select(signals, [domain.index(ratio.denominator)])) * ratio.unit
    under = under + ratio.unit * ratio.denominator_offset
    return tf.clip_by_value(product / under, -ratio.most, ratio.most)
