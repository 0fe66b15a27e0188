"""Components that alerts name (compared as in the scorers) beside the components that then fail."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from contract.hypotheses import without_wheel
from quality.detectors import Explaining
from quality.samples import Part
from quality.truth import Failure

OTHER_WHEEL = "other wheel"


def named(
    detector: Explaining,
    part: Part,
    failures: Sequence[Failure],
    lead_h: NDArray[np.float64],
    interval_s: float,
) -> tuple[str | None, ...]:
    """For each failure the component that its first alert named; None if it was not foreseen."""
    components: list[str | None] = [None] * len(failures)
    foreseen = np.flatnonzero(~np.isnan(lead_h)).tolist()
    for first, signals in part.groups():
        here = [i for i in foreseen if first <= failures[i].car < first + len(signals)]
        if not here:
            continue
        cars = np.array([failures[i].car - first for i in here])
        opened_s = np.array([failures[i].failed_s - 3600 * lead_h[i] for i in here])
        sample = np.round(opened_s / interval_s).astype(np.intp) - 1
        for i, name in zip(here, detector.named(signals, cars, sample), strict=True):
            components[i] = name
    return tuple(components)


def confusion(alerts: Sequence[tuple[Failure, str | None]]) -> Mapping[str, Mapping[str, int]]:
    """Kind of fault → component that alerts named, without its wheel → count, most frequent first.

    The right component at a wrong wheel counts as OTHER_WHEEL.
    """
    counts: dict[str, dict[str, int]] = {}
    for failure, name in alerts:
        if name is not None:
            family = without_wheel(name)
            if family == without_wheel(failure.component) and name != failure.component:
                family = OTHER_WHEEL
            if failure.kind.startswith("sensor_"):  # six of them: which one matters, not its name
                family = "the sensor" if name == failure.component else family
            row = counts.setdefault(failure.kind, {})
            row[family] = row.get(family, 0) + 1
    return {
        kind: dict(sorted(row.items(), key=lambda item: (-item[1], item[0])))
        for kind, row in sorted(counts.items())
    }
