"""SIGUSR1 cuts all connections of the fleet at once (a fault of `make chaos`)."""

import contextlib
import signal
from collections.abc import Iterator

CUT = signal.SIGUSR1


class CutSwitch:
    """Remembers that the signal was received until `pressed` is called."""

    def __init__(self) -> None:
        self._pressed = False

    def install(self) -> "CutSwitch":
        """Handle the signal; one that arrived while it was blocked is delivered now."""
        signal.signal(CUT, self._on_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {CUT})
        return self

    def pressed(self) -> bool:
        """Whether the signal was received since the last call."""
        pressed, self._pressed = self._pressed, False
        return pressed

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._pressed = True


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Block the signal in child processes started within: it would kill them before they install a switch."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {CUT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {CUT})
