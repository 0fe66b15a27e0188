"""Which component most likely causes a car's deviation.

The trainer changes healthy telemetry as signals.toml says that a fault of a component would, and keeps the
direction in which the deviation in the model's state then moves (trainer/model/directions.py). Scorers and
scorecard compare a car's deviation with these directions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
# Cosines that differ by less cannot be told apart; the component that comes first is then named.
_CLEARLY = 0.03


@dataclass(frozen=True, kw_only=True)
class Hypotheses:
    """The directions in which faults of each component move a state, in the order of their priority.

    Raises ValueError if sizes differ, there is no component, or the norm gives a direction no length.
    """

    columns: tuple[int, ...]  # (m) columns of the state that are compared
    usual: tuple[float, ...]  # (m) their values in a healthy car
    # (m, m) inverse covariance of healthy cars, which measures angles; over m, so that a typical norm is 1.
    norm: tuple[tuple[float, ...], ...]
    directions: Mapping[str, tuple[tuple[float, ...], ...]]  # component: directions, each (m)

    def __post_init__(self) -> None:
        size = len(self.columns)
        rows = [self.usual, *self.norm, *(row for rows in self.directions.values() for row in rows)]
        if len(self.norm) != size or {len(row) for row in rows} != {size} or min(self.columns) < 0:
            raise ValueError(f"usual, norm and directions must have {size} columns, none of them negative")
        if not self.directions or not all(self.directions.values()):
            raise ValueError("there must be at least one component, each with a direction")
        if not np.isfinite(self._measured).all():
            raise ValueError("every direction must have a finite, positive length by the norm")

    def of(self, state: NDArray[Any]) -> tuple[str, float]:
        """(component, cosine of the angle to its direction) for a car's state (S,).

        ("", 0) for a car that does not deviate or deviates in no component's direction.
        """
        away = state[list(self.columns)].astype(np.float64) - self.usual
        size = np.sqrt(max(float(away @ self._norm @ away), 0.0))
        if not 0 < size < np.inf:
            return "", 0.0
        cosines = np.maximum.reduceat(self._measured @ away / size, self._firsts)
        best = int(np.argmax(cosines > cosines.max() - _CLEARLY))
        return (
            (list(self.directions)[best], float(min(cosines[best], 1.0))) if cosines[best] > 0 else ("", 0.0)
        )

    @cached_property
    def spread(self) -> F8:
        """(m,) how far a column of a healthy car typically is from `usual`: where all are, the norm is 1.

        Two thirds of the standard deviation, since a few healthy cars are much further away.
        """
        return np.sqrt(np.diag(np.linalg.inv(self._norm)) / len(self.columns))

    def healthy(self, columns: range) -> tuple[F8, F8] | None:
        """(usual, spread) of these columns of the state; None where not all of them are compared."""
        if not set(columns) <= set(self.columns):
            return None
        order = [self.columns.index(column) for column in columns]
        return np.array(self.usual)[order], self.spread[order]

    @cached_property
    def _norm(self) -> F8:
        return np.array(self.norm, np.float64)

    @cached_property
    def _firsts(self) -> NDArray[np.intp]:
        """(components,) the first row of each component in `_measured`."""
        counts = [len(rows) for rows in self.directions.values()]
        return np.cumsum([0, *counts[:-1]])

    @cached_property
    def _measured(self) -> F8:
        """(directions, m): product with a deviation, over its length: the cosine of the angle."""
        rows = np.array([row for rows in self.directions.values() for row in rows], np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            lengths = np.sqrt(np.einsum("dm,mn,dn->d", rows, self._norm, rows))
            return np.asarray(rows @ self._norm / lengths[:, None])
