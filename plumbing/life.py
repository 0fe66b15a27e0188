"""Start and end of a process: signals, the deadline of a shutdown, exit codes."""

import logging
import signal
import sys
import time
from collections.abc import Callable

from plumbing.settings import SettingsError

SHUTDOWN_DEADLINE_S = 20.0

_log = logging.getLogger(__name__)


class WorldDown(Exception):
    """Something outside the process does not answer within the bounds of waiting: exit and be restarted."""


class Stop:
    """A request to end, by SIGTERM or SIGINT; one deadline from then on covers everything left to do."""

    def __init__(self, deadline_s: float = SHUTDOWN_DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        self._deadline: float | None = None

    def install(self) -> "Stop":
        """Handle SIGTERM and SIGINT from now on. A second signal ends the process at once."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        return self

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
