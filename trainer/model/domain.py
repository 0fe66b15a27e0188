"""What is known of the signals, as arrays: who is judged, the operating point, ratios, components.

A *coordinate* is a signal or a ratio of signals: the signals come first, the ratios behind them. A signal is
judged by its ratio where it has one, else by itself (`targets`). `Domain` says nothing about cars: files/
makes one of any columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.signals import Change, Deviation, Ratio, signal_settings
from contract.telemetry import SIGNALS, Floats

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Domain:
    """K signals, and `width` coordinates made of them."""

    signals: tuple[str, ...]  # K names
    judged: Bools  # (K,) whether a signal can make a score
    conditions: Bools  # (width,) whether a coordinate is part of the operating point
    resolution: NDArray[np.float64]  # (width,) smaller changes of a coordinate are no news; in its unit
    restless: Bools  # (K,) whether a sound sensor hardly ever repeats its value
    ratios: tuple[Ratio, ...] = ()
    components: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)  # what their faults change
    deviations: tuple[Deviation, ...] = ()  # artificial faults to judge by

    @property
    def count(self) -> int:
        """The number of signals, K."""
        return len(self.signals)

    @property
    def width(self) -> int:
        """The number of coordinates."""
        return len(self.signals) + len(self.ratios)

    def index(self, name: str) -> int:
        """The index of a signal. Raises ValueError for an unknown name."""
        return self.signals.index(name)

    def targets(self) -> NDArray[np.intp]:
        """(K,) the coordinate by which each signal is judged: its ratio, or else itself."""
        chosen = np.arange(self.count)
        for coordinate, ratio in enumerate(self.ratios, self.count):
            if ratio.judges is not None:
                chosen[self.index(ratio.judges)] = coordinate
        return chosen

    def parts(self) -> Bools:
        """(width, K): whether coordinate i is made of signal j."""
        made = np.zeros((self.width, self.count), bool)
        made[: self.count] = np.eye(self.count, dtype=bool)
        for coordinate, ratio in enumerate(self.ratios, self.count):
            made[coordinate, [self.index(name) for name in (*ratio.numerator, ratio.denominator)]] = True
        return made

    def visible(self) -> Bools:
        """(width, K): whether coordinate i may be used to predict signal j, that is, is not made of it."""
        return ~self.parts()

    def helpful(self) -> Bools:
        """(width, width): whether coordinate i may impute coordinate k: not made of what k judges."""
        parts = self.parts()
        columns: list[Any] = [~parts[:, signal] for signal in range(self.count)]
        for coordinate, ratio in enumerate(self.ratios, self.count):
            judged = [self.index(ratio.judges)] if ratio.judges else np.flatnonzero(parts[coordinate])
            columns.append(~parts[:, judged].any(axis=1))
        return np.stack(columns, axis=1)


@cache
def fleet_domain(signals: tuple[str, ...] = SIGNALS) -> Domain:
    """The domain of a model that judges these signals of the telemetry schema in use.

    Ratios and deviations of other signals are left out, and so is what components do to them. Raises
    ValueError for a malformed signals.toml.
    """
    settings, names = signal_settings(), set(signals)
    by_name = {signal.name: signal for signal in settings.signals}
    chosen = [by_name[name] for name in signals]
    ratios = tuple(ratio for ratio in settings.ratios if names.issuperset(ratio.signals))
    coordinates: tuple[Any, ...] = (*chosen, *ratios)
    components = {
        name: tuple(change for change in changes if change.signal in names)
        for name, changes in settings.components.items()
    }
    return Domain(
        signals=signals,
        judged=np.array([signal.judged for signal in chosen], bool),
        conditions=np.array([each.condition for each in coordinates], bool),
        resolution=np.array([each.resolution for each in coordinates], np.float64),
        restless=np.array([signal.restless for signal in chosen], bool),
        ratios=ratios,
        components={name: changes for name, changes in components.items() if changes},
        deviations=tuple(each for each in settings.deviations if names.issuperset(each.signals)),
    )


def columns(signals: Floats, names: tuple[str, ...], wanted: tuple[str, ...]) -> Floats:
    """The columns `wanted` of signals (n, K), which are called `names`; NaN for one that is not there."""
    if names == wanted:
        return signals
    picked = np.full((len(signals), len(wanted)), np.nan, np.float32)
    for column, name in enumerate(wanted):
        if name in names:
            picked[:, column] = signals[:, names.index(name)]
    return picked
