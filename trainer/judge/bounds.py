"""Values that no sound sensor sends: of a broken gateway, or in another unit."""

import numpy as np

from contract.signals import signal_settings
from contract.telemetry import SIGNALS, Floats

SHARE_MAX = 0.01  # of a signal's values; cars with a broken sensor stand out and are not learned from


def outside(signals: Floats) -> dict[str, float]:
    """Share of each signal's values outside of `least` to `most` (signals.toml), where there are any.

    `signals` (n, K), the columns of the telemetry schema. A missing value (NaN) is none; an infinite one is
    outside.
    """
    shares = {}
    for column, signal in enumerate(signal_settings().signals):
        values = signals[:, column]
        wrong = int(np.count_nonzero((values < signal.least) | (values > signal.most) | np.isinf(values)))
        if wrong:
            shares[SIGNALS[column]] = wrong / int(np.count_nonzero(~np.isnan(values)))
    return shares
