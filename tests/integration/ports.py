"""Free ports for the processes of tests: below the ephemeral range, others for each TEST_PORT_OFFSET."""

import os
import socket
from collections.abc import Iterator

_FIRST = 24_000 + int(os.environ.get("TEST_PORT_OFFSET", "1000"))


def _free() -> Iterator[int]:
    for port in range(_FIRST, _FIRST + 1_000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port
    raise AssertionError("no free port is left")


_ports = _free()


def free_port() -> int:
    """A port that is free now; none is given twice, because a stopped broker comes back to its own."""
    return next(_ports)
