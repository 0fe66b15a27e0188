"""How many cars drive at a time, and when all of them lose their connection: pure functions of time."""

import math
from collections.abc import Callable
from dataclasses import dataclass

_RAMP_SHARE = 2 / 3  # of the run; in the rest all users drive
_BURSTS, _BASE_SHARE = 3, 0.2
# Shares of the run: late enough that all users have started, and far enough apart for them to reconnect.
_STORMS_AT = (0.4, 0.6, 0.8)


@dataclass(frozen=True)
class LoadStep:
    """The load at a moment."""

    users: int
    storms: int = 0  # reconnect storms until now


def steady(share: float, users: int) -> LoadStep:
    """All users from the start."""
    return LoadStep(users)


def ramp(share: float, users: int) -> LoadStep:
    """More and more users over two thirds of the run, then all."""
    return LoadStep(min(users, max(1, math.ceil(users * share / _RAMP_SHARE))))


def burst(share: float, users: int) -> LoadStep:
    """A fifth of the users, and three times all of them: in the second half of each third of the run."""
    high = share * _BURSTS % 1 >= 0.5
    return LoadStep(users if high else max(1, round(users * _BASE_SHARE)))


def storm(share: float, users: int) -> LoadStep:
    """All users; three times all of them lose their connection at once and reconnect."""
    return LoadStep(users, sum(share >= at for at in _STORMS_AT))


# `share` is the elapsed share of the run, 0 to 1.
SHAPES: dict[str, Callable[[float, int], LoadStep]] = {f.__name__: f for f in (steady, ramp, burst, storm)}


def at(shape: str, at_s: float, *, users: int, run_s: float) -> LoadStep | None:
    """The load of `shape` at_s seconds after the start; None once the run is over."""
    return SHAPES[shape](at_s / run_s, users) if at_s < run_s else None
