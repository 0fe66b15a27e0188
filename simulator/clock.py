"""The time of a run: it begins when the clock of this machine is set, and follows where it is set anew."""

import logging
import time
from collections.abc import Callable

from contract.bounds import CLOCK_MS_MIN
from plumbing.life import Stop

_SET_S = 60.0  # a wall clock that is off by more was set, not slewed
_POLL_S = 0.2

_log = logging.getLogger("simulator")


class Clock:
    """Seconds since the beginning of a run, by the monotonic clock."""

    def __init__(self, epoch_ms: int) -> None:
        """`epoch_ms`: second 0 of the run, ms since 1970."""
        self._epoch_s = epoch_ms / 1_000
        self._began = time.monotonic() - self._wall_s()

    @property
    def now_s(self) -> float:
        """Second of the run."""
        return time.monotonic() - self._began

    def follow(self) -> None:
        """Take over the time where the wall clock was set, unless to a time before the run."""
        moved_s = self._wall_s() - self.now_s
        if abs(moved_s) > _SET_S and self._wall_s() >= 0:
            _log.warning("the clock was set, by %.0f s", moved_s)
            self._began -= moved_s

    def _wall_s(self) -> float:
        return time.time() - self._epoch_s


def wait_until_set(
    stop: Stop, since_ms: int = CLOCK_MS_MIN, waiting: Callable[[str], object] = lambda _: None
) -> None:
    """Wait while the clock says a time before `since_ms`: what is sampled then would be refused.

    `waiting` hears, again and again, what is waited for.
    """
    logged = False
    while not stop.requested and (now_s := time.time()) * 1_000 < since_ms:
        says = time.strftime("%Y-%m-%d %H:%M", time.gmtime(now_s))
        why = f"the clock of this machine is not set: {says} UTC"
        waiting(why)
        if not logged:
            _log.warning("%s; waiting until it is", why)
            logged = True
        time.sleep(_POLL_S)
