"""Random numbers of a car that do not depend on how the fleet is split or on the order of calls.

Nothing here keeps a state: a draw is a hash of the fleet's seed, the number of the car, a purpose and, where
it changes over time, the time.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Arrays of float32 and of float64. The dtype is not declared because numpy's stubs give Any or float64 for
# float32 combined with a Python float.
F4 = NDArray[Any]
F8 = NDArray[Any]
U8 = NDArray[np.uint64]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: multiples of it spread evenly (splitmix64)

# The deck has 2**18 numbers (1 MiB), which fit into a core's cache. The noise of a car is a window of it.
_DECK_BITS = 18


def keys(seed: int, first: int, cars: int) -> U8:
    """Keys (cars,) of the cars first, first+1, …, one per car."""
    index = np.arange(first, first + cars, dtype=np.uint64)
    return mixed(mixed(index + np.uint64(seed * _GOLDEN & _MASK)))


def mixed(value: U8) -> U8:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): an input bit changes half of the output."""
    value = (value ^ value >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ value >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return value ^ value >> np.uint64(31)


def uniforms(car_keys: U8, purpose: int, count: int) -> F8:
    """(count, n) uniform numbers in (0, 1), independent for every `purpose` (0 to 2**40)."""
    salt = np.arange(count, dtype=np.uint64) * np.uint64(_GOLDEN) + np.uint64(
        (purpose + 1) * 4093 * _GOLDEN & _MASK
    )
    bits = mixed(car_keys[None, :] ^ mixed(salt)[:, None]) >> np.uint64(11)
    return (bits.astype(np.float64) + 0.5) * 2.0**-53


def normals(car_keys: U8, purpose: int, count: int) -> F8:
    """(count, n) standard normal numbers (Box and Muller 1958)."""
    u = uniforms(car_keys, purpose, 2 * count)
    return np.sqrt(-2.0 * np.log(u[:count])) * np.cos(2.0 * np.pi * u[count:])


def noise(car_keys: U8, now_ms: int, width: int) -> F4:
    """(width, n) standard normal numbers for this time: one window of a fixed deck per car.

    One hash per car and time is cheaper than one per number. Two windows may overlap with a shift, which
    cannot be seen in any single signal.
    """
    return np.ascontiguousarray(_deck(width, normal=True)[_window_starts(car_keys, now_ms)].T)


def dice(car_keys: U8, now_ms: int, width: int) -> F4:
    """(width, n) uniform numbers in (0, 1) for this time, as cheap as `noise`."""
    return np.ascontiguousarray(_deck(width, normal=False)[_window_starts(car_keys, ~now_ms)].T)


def _window_starts(car_keys: U8, now_ms: int) -> NDArray[np.int64]:
    """(n,) index in the deck at which the window of each car begins."""
    bits = car_keys + np.uint64(now_ms * _GOLDEN & _MASK)
    bits ^= bits >> np.uint64(32)
    bits *= np.uint64(0xBF58476D1CE4E5B9)  # the keys are mixed already: half of `mixed` is enough
    bits >>= np.uint64(64 - _DECK_BITS)
    return bits.view(np.int64)


@cache
def _deck(width: int, *, normal: bool) -> F4:
    """All windows (2**18, width) of the deck of normal or uniform numbers, as a view."""
    rng, size = np.random.default_rng(1 if normal else 2), (1 << _DECK_BITS) + width - 1
    row = rng.standard_normal(size, np.float32) if normal else rng.random(size, np.float32).clip(1e-7)
    return np.lib.stride_tricks.sliding_window_view(row, width)
