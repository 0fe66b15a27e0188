"""Chance that belongs to a car: the same for a car however the fleet is split, and in any order of calls.

Nothing here keeps a state. A draw is a hash of the fleet's seed, the car, a purpose, and (where it changes
with time) the time.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# float32 and float64. numpy's stubs say Any or float64 for float32 with a Python float, hence no dtype here.
F4 = NDArray[Any]
F8 = NDArray[Any]
U8 = NDArray[np.uint64]

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: multiples of it spread evenly (splitmix64)

# A quarter of a million standard normals, 1 MiB: stays in a core's cache. A row of noise is a window of it.
_DECK_BITS = 18


def keys(seed: int, first: int, cars: int) -> U8:
    """One key a car, (cars,), for the cars first, first+1, …"""
    index = np.arange(first, first + cars, dtype=np.uint64)
    return mixed(mixed(index + np.uint64(seed * _GOLDEN & _MASK)))


def mixed(value: U8) -> U8:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): every bit in changes half of the bits out."""
    value = (value ^ value >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ value >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return value ^ value >> np.uint64(31)


def uniforms(car_keys: U8, purpose: int, count: int) -> F8:
    """(count, n) numbers in (0, 1); another `purpose` (0 to 2**40) gives others."""
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
    """(width, n) standard normal numbers for this moment: per car one window of a fixed deck.

    Cheap (one hash a car and moment, not one a number): two windows may overlap, shifted against each other,
    which no single signal can show.
    """
    return np.ascontiguousarray(_normal_deck(width)[_places(car_keys, now_ms)].T)


def dice(car_keys: U8, now_ms: int, width: int) -> F4:
    """(width, n) numbers in (0, 1) for this moment, as cheap as `noise`."""
    return np.ascontiguousarray(_uniform_deck(width)[_places(car_keys, ~now_ms)].T)


def _places(car_keys: U8, now_ms: int) -> NDArray[np.int64]:
    """(n,) where the windows begin."""
    moment = car_keys + np.uint64(now_ms * _GOLDEN & _MASK)
    moment ^= moment >> np.uint64(32)
    moment *= np.uint64(0xBF58476D1CE4E5B9)  # the keys are mixed already: half of `mixed` is enough
    moment >>= np.uint64(64 - _DECK_BITS)
    return moment.view(np.int64)


@cache
def _normal_deck(width: int) -> F4:
    row = np.random.default_rng(1).standard_normal((1 << _DECK_BITS) + width - 1, dtype=np.float32)
    return np.lib.stride_tricks.sliding_window_view(row, width)


@cache
def _uniform_deck(width: int) -> F4:
    row = np.random.default_rng(2).random((1 << _DECK_BITS) + width - 1, dtype=np.float32)
    return np.lib.stride_tricks.sliding_window_view(row.clip(1e-7), width)
