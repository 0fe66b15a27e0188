"""Addresses of host names, looked up on threads of their own: a name server that is silent stops no loop."""

import math
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from plumbing.mqtt import ConnectionLost

_FRESH_S = 30.0  # how long the addresses of a name are taken without a new look-up
_AGAIN_S = 2.0  # time between two look-ups after a failure, or after a lost connection
_SILENT_S = 5.0  # a first look-up that takes longer is reported as a failure; it goes on


@dataclass(eq=False)
class _Name:
    addresses: tuple[str, ...] = ()  # the first is dialled next; those found last stay when a look-up fails
    failure: str = ""  # of the last look-up; empty: it found addresses, or none has ended yet
    asked_at: float = -math.inf  # time.monotonic of the beginning of the last look-up
    asking: bool = False  # it goes on


class Names:
    """The addresses of the hosts that one loop dials; its methods do not block."""

    def __init__(self, look_up: Callable[[str], list[str]] | None = None) -> None:
        """`look_up`: a host's addresses; blocks, raises OSError. By default the system's."""
        self._look_up = look_up or _system
        self._names: dict[str, _Name] = {}

    def address(self, host: str) -> str | None:
        """The numeric address to dial now; None while the first look-up of the host goes on.

        Raises ConnectionLost where the look-up has failed, or is not answered.
        """
        name = self._names.get(host)
        if name is None:
            name = self._names[host] = _Name()
            if _is_numeric(host):
                name.addresses, name.asked_at = (host,), math.inf
        now = time.monotonic()
        if now - name.asked_at > (_AGAIN_S if name.failure else _FRESH_S):
            self._ask(host, name)
        if name.addresses:
            return name.addresses[0]
        if name.failure or (name.asking and now - name.asked_at > _SILENT_S):
            raise ConnectionLost(name.failure or f"no name server has answered for {host!r} yet")
        return None

    def lost(self, host: str, unanswered: str | None = None) -> None:
        """Look the host up again after a lost connection: it may have moved.

        `unanswered`: the address, where nothing has answered there. The host's next one then has its turn.
        """
        name = self._names.get(host)
        if name is None:
            return
        if unanswered and name.addresses[:1] == (unanswered,):
            name.addresses = (*name.addresses[1:], unanswered)
        if time.monotonic() - name.asked_at > _AGAIN_S:
            self._ask(host, name)

    def _ask(self, host: str, name: _Name) -> None:
        if not name.asking:
            name.asking, name.asked_at = True, time.monotonic()
            # A daemon, because nothing can end a look-up and no process should wait for it.
            threading.Thread(target=self._answer, args=(host, name), daemon=True).start()

    def _answer(self, host: str, name: _Name) -> None:
        try:
            found = self._look_up(host)
        except (OSError, UnicodeError) as error:  # UnicodeError: no name, for instance one with an empty part
            name.failure = f"{host!r} has no address: {error}"
        else:
            # The address that was dialled last stays the first one.
            start = next((n for n, each in enumerate(found) if (each,) == name.addresses[:1]), 0)
            name.addresses, name.failure = (*found[start:], *found[:start]), ""
        name.asking = False


def _is_numeric(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    return True


def _system(host: str) -> list[str]:
    """The addresses of both families. IPv4 first: what worked without IPv6 goes on as before."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    found.sort(key=lambda each: each[0] != socket.AF_INET)
    return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))
