"""Start and end of a process: signals, the deadline of a shutdown, exit codes."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from plumbing.settings import SettingsError

SHUTDOWN_DEADLINE_S = 20.0
_BLOCKED_S_MAX = 2.0  # after a signal during the start

_log = logging.getLogger(__name__)


class WorldDown(Exception):
    """Something outside the process does not answer within the bounds of waiting: exit and be restarted."""


class Stop:
    """A request to end, by SIGTERM or SIGINT; one deadline from then on covers everything left to do."""

    def __init__(self, deadline_s: float = SHUTDOWN_DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        self._deadline: float | None = None
        self.starting = False  # nothing has begun yet that a signal has to end in order
        self._start_status = 0

    def install(self, *, starting: bool = False, status: int = 0) -> "Stop":
        """Handle SIGTERM and SIGINT from now on. A second signal ends the process at once.

        `starting`: so does the first one until `started`, as SystemExit with `status`. Calls into libraries
        block such an exception, a look-up of a name for many seconds: then without it.
        """
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        self.starting, self._start_status = starting, status
        if starting:
            signals, written = os.pipe()
            os.set_blocking(written, False)
            signal.set_wakeup_fd(written, warn_on_full_buffer=False)
            threading.Thread(target=self._end_blocked, args=(signals,), daemon=True).start()
        return self

    def started(self) -> None:
        """The start is over: from here on the process looks at `requested`, and ends in order."""
        self.starting = False

    def request(self) -> None:
        """Ask the process to end; the deadline counts from the first call."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self._deadline_s

    @property
    def requested(self) -> bool:
        """Whether the process is to end."""
        return self._deadline is not None

    @property
    def left_s(self) -> float:
        """Seconds left to end in an orderly way; never negative."""
        return self._deadline_s if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _on_signal(self, number: int, _frame: object) -> None:
        if self.requested:
            raise SystemExit(128 + number)
        self.request()
        if self.starting:
            raise SystemExit(self._start_status)

    def _end_blocked(self, signals: int) -> None:
        """Wait for a signal; if the main thread does not come to handle it while it starts, end for it."""
        while os.read(signals, 1)[0] not in (signal.SIGTERM, signal.SIGINT):
            pass
        time.sleep(_BLOCKED_S_MAX)
        if self.starting and not self.requested:
            os._exit(self._start_status)


def main(run: Callable[[], int | None]) -> None:
    """Run and exit: 0 or what `run` returns, 1 WorldDown, 2 bad settings; a bug shows its traceback."""
    try:
        sys.exit(run())
    except SettingsError as error:
        print(f"settings: {error}", file=sys.stderr)
        sys.exit(2)
    except WorldDown as error:
        _log.error("%s", error)
        sys.exit(1)
