"""Which signals make a score, by how much, and which component of the car they point to."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import SIGNALS, Floats

NAMED_SIGNALS_MAX = 3

Shares = NDArray[np.float64]


def shares_of(contributions: Floats, values: Floats) -> Shares:
    """The share of each signal in k scores, (k, signals); each row adds up to 1.

    contributions (k, signals) count by their size, whatever their sign; values (k, signals) are the samples.
    Contributions that are not finite share the score equally. If some of their signals were not finite in the
    sample already, these alone share it.
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
    """(signals, shares, values) of the largest shares in each of k scores, each (k, at most 3)."""
    order = np.argsort(-shares, axis=1, kind="stable")[:, :NAMED_SIGNALS_MAX]
    return order, np.take_along_axis(shares, order, axis=1), np.take_along_axis(values, order, axis=1)


def named(shares: Shares, values: Floats) -> list[dict[str, Any]]:
    """The largest shares of one score, as records carry them; shares and values (signals,)."""
    columns = (column[0].tolist() for column in largest(shares[None], values[None]))
    return [
        {"name": SIGNALS[signal], "share": share, "value": value}
        for signal, share, value in zip(*columns, strict=True)
        if share > 0
    ]


class Components:
    """The components of a car, with the signals that a fault of each changes."""

    def __init__(self, components: Mapping[str, tuple[str, ...]]) -> None:
        """`components`: name to signals, as in the manifest."""
        self._names = list(components)
        changed = [[name in signals for name in SIGNALS] for signals in components.values()]
        self._signals = np.array(changed, np.bool_).reshape(-1, len(SIGNALS))
        self._lengths = np.sqrt(np.maximum(1, self._signals.sum(axis=1)))  # of the rows as vectors

    def hypothesis(self, shares: Shares) -> tuple[str, float]:
        """(component, share of its signals in the score) for the shares (signals,) of one score.

        It is the component whose signals have the smallest angle to the shares: of two that share a signal,
        the one with this signal alone, if no other contributes. Of equal ones the first; ("", 0) where none
        fits.
        """
        fits = self._signals @ shares / self._lengths
        if not fits.size or not fits.max() > 0:
            return "", 0.0
        best = int(fits.argmax())
        return self._names[best], float(self._signals[best] @ shares)
