"""What scorers count of a model at work: on this evidence it is promoted, withdrawn or trained anew.

Counts add up over scorers, edges and time, so whoever reads them needs nothing else of a car.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from contract.fields import read

# Multiples of the threshold whose crossings are counted: what other thresholds would have opened.
LEVELS = tuple(np.geomspace(0.5, 4, 16).round(6).tolist())
AT_THRESHOLD = LEVELS.index(1.0)
# Deviations beyond which cars are counted, in the healthy spreads of a manifest's hypotheses. Beyond FAR is
# no chance: docs/decisions/drift.md.
NEAR, FAR = 1.0, 8.0


@dataclass(frozen=True, kw_only=True)
class Beyond:
    """How many of the judged cars deviate from themselves in one signal."""

    name: str
    far_below: int  # by more than FAR healthy spreads
    below: int  # by more than NEAR
    above: int
    far_above: int


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A record of the topic scores.evidence; its schema, evidence.v1.avsc, explains the fields."""

    scorer: str
    model_name: str
    model_version: int
    share: float | None  # None: of the champion
    since: int  # ms since 1970
    until: int
    judged: int  # the following are counts of this time
    crossings: tuple[int, ...]  # one for each of LEVELS
    alone: int = 0
    unwritten: int = 0
    checked: int = 0
    broken: int = 0
    cars: int = 0  # the following are how things stood at the end
    learning: int = 0
    strange: int = 0
    open: int = 0
    signals: tuple[Beyond, ...] = ()

    @property
    def openings(self) -> int:
        """Alerts that opened, or of a challenger would have."""
        return self.crossings[AT_THRESHOLD]

    def record(self) -> dict[str, Any]:
        """The record for `records.encode("evidence", …)`."""
        return asdict(self)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Evidence":
        """From a decoded record. Raises ValueError for one that does not fit."""
        evidence = read(cls, dict(record))
        if len(evidence.crossings) != len(LEVELS):
            raise ValueError(f"{len(evidence.crossings)} crossings, not {len(LEVELS)}")
        return evidence
