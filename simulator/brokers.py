"""Who of the brokers does not answer: asked by the parent until the fleet is connected, to name it."""

import logging
import socket
from collections.abc import Sequence

ASK_AGAIN_S = 5.0
_ANSWER_WITHIN_S = 0.3  # a broker's; the parent waits meanwhile

_log = logging.getLogger("simulator")


class Brokers:
    """The addresses that the cars dial."""

    def __init__(self, addresses: Sequence[tuple[str, int]]) -> None:
        self._addresses = list(dict.fromkeys(addresses))
        self._due = 0.0
        self._silent = ""

    def silent(self, now: float) -> str:
        """Which of them take no connection, and why; empty where all do. Asked anew every ASK_AGAIN_S."""
        if now >= self._due:
            self._due = now + ASK_AGAIN_S
            self._silent = ", ".join(filter(None, map(_why_silent, self._addresses)))
            if self._silent:
                _log.warning(
                    "no answer from %s; start it or correct --mqtt-brokers; the cars keep trying",
                    self._silent,
                )
        return self._silent


def _why_silent(address: tuple[str, int]) -> str:
    try:
        socket.create_connection(address, _ANSWER_WITHIN_S).close()
    except OSError as error:
        return f"{address[0]}:{address[1]} ({error.strerror or error})"
    return ""
