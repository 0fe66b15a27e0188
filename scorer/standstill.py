"""A replica that was suspended: by SIGSTOP, by a machine that slept, by a virtual machine on the move.

Kafka hears nothing of it meanwhile and gives its partitions to another replica, which scores on from the last
audit record. What this one writes after it wakes up would be there twice.
"""

import time

from plumbing.life import WorldDown

# Less than the session of the group (10 s), after which another replica may have the partitions.
_STANDSTILL_S_MAX = 8.0


class Standstill:
    """The time since this process last said that it moves."""

    def __init__(self) -> None:
        self._moved_s = time.monotonic()

    def moved(self) -> None:
        """Begin anew, after work that may take long and writes nothing."""
        self._moved_s = time.monotonic()

    def check(self) -> None:
        """Before anything is written: raises WorldDown where the last check, or move, is too long ago."""
        last_s, self._moved_s = self._moved_s, time.monotonic()
        if (still_s := self._moved_s - last_s) > _STANDSTILL_S_MAX:
            raise WorldDown(f"stood still for {still_s:.0f} s: another replica may score its partitions now")
