"""What a detector looks at, as data: signals, the operating point, ratios, components. Nothing here is a car.

A *coordinate* is a signal or a ratio of signals: the signals stand first, the ratios behind them. A signal is
judged by its ratio where there is one, else by itself (`targets`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.signals import Change, Deviation, Ratio, SignalSettings, signal_settings

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Domain:
    """K signals and the ratios made of them.

    `judged` (K,): whether a signal can make a score. `conditions` (width,): whether a coordinate is part of
    the operating point. `resolution` (width,): below it a change of a coordinate is no news, in its unit.
    `restless` (K,): whether a sound sensor hardly ever repeats itself.
    """

    signals: tuple[str, ...]
    judged: Bools
    conditions: Bools
    resolution: NDArray[np.float64]
    restless: Bools
    ratios: tuple[Ratio, ...] = ()
    components: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)
    deviations: tuple[Deviation, ...] = ()

    @property
    def count(self) -> int:
        """Of the signals, K."""
        return len(self.signals)

    @property
    def width(self) -> int:
        """Of the coordinates."""
        return len(self.signals) + len(self.ratios)

    def place(self, name: str) -> int:
        """Where a signal stands. Raises ValueError for none of them."""
        return self.signals.index(name)

    def targets(self) -> NDArray[np.intp]:
        """Per signal the coordinate by which it is judged, (K,): its ratio or else itself."""
        chosen = np.arange(self.count)
        for place, ratio in enumerate(self.ratios, self.count):
            if ratio.judges is not None:
                chosen[self.place(ratio.judges)] = place
        return chosen

    def parts(self) -> Bools:
        """(width, K): whether coordinate i is made of signal j."""
        made = np.zeros((self.width, self.count), bool)
        made[: self.count] = np.eye(self.count, dtype=bool)
        for place, ratio in enumerate(self.ratios, self.count):
            made[place, [self.place(name) for name in (*ratio.numerator, ratio.denominator)]] = True
        return made

    def visible(self) -> Bools:
        """(width, K): whether coordinate i may be used to expect signal j, that is, is not made of it."""
        return ~self.parts()

    def helpful(self) -> Bools:
        """(width, width): whether coordinate i may fill coordinate k: not made of what k judges."""
        parts = self.parts()
        columns: list[Any] = [~parts[:, signal] for signal in range(self.count)]
        for place, ratio in enumerate(self.ratios, self.count):
            judged = [self.place(ratio.judges)] if ratio.judges else np.flatnonzero(parts[place])
            columns.append(~parts[:, judged].any(axis=1))
        return np.stack(columns, axis=1)


@cache
def fleet_domain() -> Domain:
    """Of the telemetry schema that this process uses. Raises ValueError for a malformed signals.toml."""
    return domain_of(signal_settings())


def domain_of(settings: SignalSettings) -> Domain:
    """The same as arrays."""
    coordinates: tuple[Any, ...] = (*settings.signals, *settings.ratios)
    return Domain(
        signals=tuple(signal.name for signal in settings.signals),
        judged=np.array([signal.judged for signal in settings.signals], bool),
        conditions=np.array([each.condition for each in coordinates], bool),
        resolution=np.array([each.resolution for each in coordinates], np.float64),
        restless=np.array([signal.restless for signal in settings.signals], bool),
        ratios=settings.ratios,
        components=settings.components,
        deviations=settings.deviations,
    )


def plain_domain(
    signals: Sequence[str], conditions: Sequence[str] = (), resolution: Sequence[float] | None = None
) -> Domain:
    """Of any columns: all `signals` are judged, each by itself.

    `conditions` make the operating point; those that are not among `signals` are added behind them and are
    not judged. `resolution` has one positive number for each of both, in this order; none: 1e-6 for all.
    Raises ValueError for a name that is there twice, or no signal.
    """
    names = (*signals, *[name for name in conditions if name not in signals])
    if not signals or len(set(names)) != len(names) or len(set(conditions)) != len(conditions):
        raise ValueError("signals must be at least one, and no column may be named twice")
    sizes = np.full(len(names), 1e-6) if resolution is None else np.array(resolution, np.float64)
    if sizes.shape != (len(names),) or not (np.isfinite(sizes) & (sizes > 0)).all():
        raise ValueError(
            f"resolution must be {len(names)} positive numbers, one for each of {', '.join(names)}"
        )
    return Domain(
        signals=names,
        judged=np.isin(names, signals),
        conditions=np.isin(names, conditions),
        resolution=sizes,
        restless=np.zeros(len(names), bool),
    )
