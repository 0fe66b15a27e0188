"""Whether an alert names the component that then fails: by the scorers' own hypothesis."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contract.signals import signal_settings
from quality.detectors import Explaining
from quality.samples import Part
from quality.truth import Failure
from scorer.shares import Components, shares_of


def right(
    detector: Explaining,
    part: Part,
    failures: Sequence[Failure],
    lead_h: NDArray[np.float64],
    interval_s: float,
) -> NDArray[np.float64]:
    """(failures,) 1 where the alert that foresaw a failure named its component, else 0; NaN: not foreseen."""
    components = Components(signal_settings().components)
    found = np.full(len(failures), np.nan)
    foreseen = np.flatnonzero(~np.isnan(lead_h)).tolist()
    for first, signals in part.groups():
        here = [i for i in foreseen if first <= failures[i].car < first + len(signals)]
        if not here:
            continue
        cars = np.array([failures[i].car - first for i in here])
        opened_s = np.array([failures[i].failed_s - 3600 * lead_h[i] for i in here])
        sample = np.round(opened_s / interval_s).astype(np.intp) - 1
        contributions = detector.contributions(signals)[cars, sample]
        shares = shares_of(contributions, signals[cars, sample])
        for i, share in zip(here, shares, strict=True):
            found[i] = components.hypothesis(share)[0] == failures[i].component
    return found
