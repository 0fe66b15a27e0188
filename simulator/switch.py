"""A fault on request, for `make chaos`: SIGUSR1 to the simulator cuts all connections of its cars at once."""

import contextlib
import signal
from collections.abc import Iterator

CUT = signal.SIGUSR1


class Switch:
    """Remembers that the signal came, until somebody asks."""

    def __init__(self) -> None:
        self._pressed = False

    def install(self) -> "Switch":
        """Take over the signal; one that came during the start (`held`) comes now."""
        signal.signal(CUT, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {CUT})
        return self

    def pressed(self) -> bool:
        """Whether the signal came since the last call."""
        was, self._pressed = self._pressed, False
        return was

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._pressed = True


@contextlib.contextmanager
def held() -> Iterator[None]:
    """A child started within keeps the signal waiting until it installs its switch; unhandled it kills."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {CUT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {CUT})
