"""From raw signals to coordinates: the signals, then the ratios of the domain.

Written in TensorFlow's operations, so that the very same code runs in training and inside the graph that the
scorers get. A ratio says how strongly a part reacts to the driving: its logarithm has the same spread at
every speed, and a worn part moves it by the same amount everywhere. What is linear, like the spread of four
tyres, needs no ratio: the model's linear part makes it by itself.
"""

from typing import Any

import numpy as np

from contract.signals import Ratio
from trainer.model.domain import Domain
from trainer.model.rows import column, picked, stacked


def coordinates(domain: Domain, signals: Any) -> Any:
    """(K, n) finite signals to (width, n) coordinates: the signals, then the ratios."""
    logarithms = [ratio for ratio in domain.ratios if ratio.logarithm]
    quotients = [ratio for ratio in domain.ratios if not ratio.logarithm]
    found = [_logarithms(domain, logarithms, signals)] if logarithms else []
    found += [_quotient(domain, ratio, signals) for ratio in quotients]
    order = [domain.ratios.index(ratio) for ratio in (*logarithms, *quotients)]
    if order != sorted(order):
        found = [picked(stacked(*found), np.argsort(order))]
    return stacked(signals, *found)


def all_there(domain: Domain, present: Any) -> Any:
    """1 where signals (K, n) are there, else 0, to the same of coordinates (width, n)."""
    parts = [np.flatnonzero(made) for made in domain.parts()[domain.count :]]
    if not parts:
        return present
    # As many factors for each: a part that stands twice changes nothing.
    first, *others = np.array([np.resize(made, max(map(len, parts))) for made in parts]).T
    found = picked(present, first)
    for other in others:
        found = found * picked(present, other)
    return stacked(present, found)


def _logarithms(domain: Domain, ratios: list[Ratio], signals: Any) -> Any:
    """(ratios, n): log(|numerator| + its offset) less power times log(|denominator| + its offset)."""
    import tensorflow as tf

    above = tf.abs(picked(signals, [domain.place(ratio.numerator[0]) for ratio in ratios]))
    under = tf.abs(picked(signals, [domain.place(ratio.denominator) for ratio in ratios]))
    above = tf.math.log(above + column([ratio.numerator_offset for ratio in ratios]))
    under = tf.math.log(under + column([ratio.denominator_offset for ratio in ratios]))
    return above - under * column([ratio.power for ratio in ratios])


def _quotient(domain: Domain, ratio: Ratio, signals: Any) -> Any:
    """(1, n): the product of the numerators over the denominator, within its bounds."""
    import tensorflow as tf

    product, *others = (picked(signals, [domain.place(name)]) for name in ratio.numerator)
    for other in others:
        product = product * other
    under = tf.abs(picked(signals, [domain.place(ratio.denominator)])) * ratio.unit
    under = under + ratio.unit * ratio.denominator_offset
    return tf.clip_by_value(product / under, -ratio.most, ratio.most)
