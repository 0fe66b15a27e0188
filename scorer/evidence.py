"""What is counted of the models at work, and the records of it, one a model and interval.

Only counts leave a scorer (contract/evidence.py). What was counted since the last record is lost with the
process, and a record that Kafka does not take is lost too: it is evidence, not data.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.evidence import AT_THRESHOLD, LEVELS, Beyond, Evidence
from contract.manifest import Manifest
from contract.signals import signal_settings
from contract.telemetry import Floats
from scorer.cars import Mask
from scorer.index import CarNumbers

_Numbers = NDArray[np.int8]

# Counting takes 20 µs, of one batch or of many.
_UNCOUNTED_MAX = 100
# Of about so many records this many are held against the bounds: enough to see a share of 1 %, and cheap.
_OF_ROWS, _CHECKED_ROWS = 1_000, 32


class Crossings(NamedTuple):
    """Levels of r cars that went over more multiples of the threshold than before."""

    cars: CarNumbers  # (r,)
    before: _Numbers  # (r,) how many of LEVELS the level was over, with hysteresis
    after: _Numbers

    @classmethod
    def joined(cls, parts: list["Crossings"]) -> "Crossings":
        """All of them."""
        if not parts:
            return _NONE
        return parts[0] if len(parts) == 1 else cls(*map(np.concatenate, zip(*parts, strict=True)))

    @property
    def opens(self) -> Mask:
        """(r,) which of them went over the threshold itself."""
        return (self.before <= AT_THRESHOLD) & (self.after > AT_THRESHOLD)

    def only(self, chosen: Mask) -> "Crossings":
        """Crossings that the mask (r,) chooses."""
        return Crossings(self.cars[chosen], self.before[chosen], self.after[chosen])


_NONE = Crossings(np.empty(0, np.intp), np.empty(0, np.int8), np.empty(0, np.int8))


@dataclass(eq=False)
class Counts:
    """What one model did since its last record of evidence."""

    judged: int = 0  # samples
    alone: int = 0  # openings while the other model had no alert of the car open
    unwritten: int = 0  # alerts that were too many to be written
    _crossings: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(LEVELS), np.int64))
    _uncounted: list[Crossings] = field(default_factory=list)

    def cross(self, crossings: Crossings) -> None:
        """Count crossings."""
        if len(crossings.cars):
            self._uncounted.append(crossings)
            if len(self._uncounted) > _UNCOUNTED_MAX:
                self._sum_up()

    @property
    def crossings(self) -> tuple[int, ...]:
        """How often each of LEVELS was crossed; a level that rises over two of them crosses both."""
        self._sum_up()
        return tuple(self._crossings.tolist())

    def _sum_up(self) -> None:
        found, self._uncounted, size = Crossings.joined(self._uncounted), [], len(LEVELS) + 1
        begun, ended = (np.bincount(each, minlength=size) for each in (found.before, found.after))
        self._crossings += np.cumsum(begun - ended)[:-1]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a record of evidence says of a model; the fields are those of `Evidence`."""

    manifest: Manifest
    share: float | None
    counts: Counts
    checked: int = 0
    broken: int = 0
    cars: int = 0
    learning: int = 0
    strange: int = 0
    open: int = 0
    signals: tuple[Beyond, ...] = ()

    @property
    def did_anything(self) -> bool:
        """Whether there is anything to say."""
        return bool(self.cars or self.checked or self.counts.judged or any(self.counts.crossings))

    def evidence(self, scorer: str, since_ms: int, until_ms: int) -> Evidence:
        """The record of this scorer and time."""
        counts = self.counts
        return Evidence(
            scorer=scorer,
            model_name=self.manifest.name,
            model_version=self.manifest.version,
            share=self.share,
            since=since_ms,
            until=until_ms,
            judged=counts.judged,
            crossings=counts.crossings,
            alone=counts.alone,
            unwritten=counts.unwritten,
            checked=self.checked,
            broken=self.broken,
            cars=self.cars,
            learning=self.learning,
            strange=self.strange,
            open=self.open,
            signals=self.signals,
        )


class Bounds:
    """Values that no sound sensor sends (`least`, `most` in signals.toml), counted in some of the records."""

    def __init__(self) -> None:
        signals = signal_settings().signals
        self._least = np.array([signal.least for signal in signals], np.float32)
        self._most = np.array([signal.most for signal in signals], np.float32)
        self.checked = self.broken = 0
        self._passed = 0  # samples since the last look

    def check(self, signals: Floats) -> None:
        """Look at some of n samples (n, K), if enough have come. A missing value is not broken."""
        self._passed += len(signals)
        if self._passed < _OF_ROWS:
            return
        self._passed = 0
        some = signals[:: max(1, len(signals) // _CHECKED_ROWS)]
        self.checked += len(some)
        beyond = (some < self._least) | (some > self._most)
        if beyond.any():
            self.broken += int(beyond.any(axis=1).sum())

    def take(self) -> tuple[int, int]:
        """(checked, broken) since the last call."""
        counts = self.checked, self.broken
        self.checked = self.broken = 0
        return counts
