"""Which signals make a score, by how much, and what that says of the car's components."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import SIGNALS, Floats

NAMED_SIGNALS_MAX = 3

Shares = NDArray[np.float64]


def shares_of(contributions: Floats, values: Floats) -> Shares:
    """The share of each signal in k scores, (k, 18); contributions, which have signs, and values alike.

    Where contributions are no numbers, their signals in equal shares; if values are none either, only theirs.
    """
    shares = np.abs(contributions.astype(np.float64))
    odd = ~np.isfinite(shares)
    if odd.any():
        sent = odd & ~np.isfinite(values)
        to_blame = np.where(sent.any(axis=1, keepdims=True), sent, odd)
        shares = np.where(odd.any(axis=1, keepdims=True), to_blame, shares)
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
    return shares


def largest(shares: Shares, values: Floats) -> tuple[NDArray[np.intp], Shares, Floats]:
    """Those with the largest shares in each of k scores, their shares and values; each (k, at most 3)."""
    order = np.argsort(-shares, axis=1, kind="stable")[:, :NAMED_SIGNALS_MAX]
    return order, np.take_along_axis(shares, order, axis=1), np.take_along_axis(values, order, axis=1)


def named(shares: Shares, values: Floats) -> list[dict[str, Any]]:
    """The same of one score, (18,), as records carry them."""
    return [
        {"name": SIGNALS[i], "share": share, "value": value}
        for i, share, value in zip(
            *(column[0].tolist() for column in largest(shares[None], values[None])), strict=True
        )
        if share > 0
    ]


class Components:
    """Which component a score speaks of, by the signals that speak of each."""

    def __init__(self, components: Mapping[str, tuple[str, ...]]) -> None:
        self._names = list(components)
        speaks = [[name in signals for name in SIGNALS] for signals in components.values()]
        self._signals = np.array(speaks, np.bool_).reshape(-1, len(SIGNALS))
        # What a score of one unit, spread evenly over a component's signals alone, comes to.
        self._sizes = np.sqrt(np.maximum(1, self._signals.sum(axis=1)))

    def hypothesis(self, shares: Shares) -> tuple[str, float]:
        """(component, share of its signals) for the shares of all signals in one score, (18,).

        The component whose signals the shares resemble most, as an angle: of two that share a signal, the
        one of this signal alone if there is no more to see. Of equals the first; ("", 0) for none.
        """
        fits = self._signals @ shares / self._sizes
        if not fits.size or not fits.max() > 0:
            return "", 0.0
        best = int(fits.argmax())
        return self._names[best], float(self._signals[best] @ shares)
