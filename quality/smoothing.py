"""The exponential mean over time, which alerts and memories are made of."""

import itertools

import numpy as np

from contract.telemetry import Floats


def smoothed(values: Floats, share: float) -> Floats:
    """(cars, samples, …) as `values`: the mean begins at 0 and goes `share` of the way to each sample.

    A loop over the samples with all cars in step.
    """
    by_time = np.array(values.swapaxes(0, 1), np.float32, order="C")
    by_time *= np.float32(share)
    kept = np.float32(1 - share)
    for before, now in itertools.pairwise(by_time):
        np.add(now, kept * before, out=now)
    return by_time.swapaxes(0, 1)
