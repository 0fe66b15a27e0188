"""Whether a program answers at a port of this machine; no client library is needed."""

import socket
import struct
import urllib.request

_TIMEOUT_S = 0.5


def port_is_open(port: int) -> bool:
    """Whether a connection is accepted."""
    try:
        with socket.create_connection(("127.0.0.1", port), _TIMEOUT_S):
            return True
    except OSError:
        return False


def kafka_answers(port: int) -> bool:
    """Whether a broker answers ApiVersions (key 18, version 0), the first request of any client."""
    body = struct.pack(">hhih5s", 18, 0, 1, 5, b"probe")
    try:
        with socket.create_connection(("127.0.0.1", port), _TIMEOUT_S) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.sendall(struct.pack(">i", len(body)) + body)
            return len(connection.recv(4)) == 4
    except OSError:
        return False


def is_ready(port: int) -> bool:
    """Whether a service's /readyz says so."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=_TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
