"""One MQTT 5 connection: a non-blocking socket, the sans-I/O codec `mqtt5`, nothing that waits.

The owner polls the file descriptor (epoll), calls `receive` when it is readable and `flush` when it is
writable. Used by the fleet (one connection a car) and by the bridge (one a broker shard).
"""

import contextlib
import errno
import socket
import time
from collections.abc import Iterable

import mqtt5

RECEIVE_BYTES = 262_144
OUT_BYTES_MAX = 8 * 1_048_576
PACKET_BYTES_MAX = 4 * 1_048_576

_PUBACK = b"\x40\x02"

# Linux: choose the source port at connect() by the whole 4-tuple; without it, many connections from one
# address search the port range one by one (ten times the CPU at 16 000 connections).
_IP_BIND_ADDRESS_NO_PORT = 24


class ConnectionLost(Exception):
    """The connection is of no more use; the message says why."""


class Connection:
    """Bytes out, packets in. Made by `dial`; every failure raises ConnectionLost."""

    __slots__ = ("_in", "_out", "sock")

    def __init__(self, sock: socket.SocketType) -> None:
        self.sock = sock
        self._in = b""
        self._out = b""

    def fileno(self) -> int:
        """For epoll."""
        return self.sock.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether bytes wait for the socket to take them: poll for writability."""
        return bool(self._out)

    def send(self, data: bytes) -> None:
        """Write what the socket takes now and keep the rest for `flush`; at most OUT_BYTES_MAX are kept."""
        if not self._out:
            written = self._write(data)
            if written == len(data):
                return
            data = data[written:]
        if len(self._out) + len(data) > OUT_BYTES_MAX:
            raise ConnectionLost(f"the peer reads too slowly: over {OUT_BYTES_MAX} bytes wait")
        self._out += data

    def flush(self) -> None:
        """The socket is writable: write what waited. The first call ends the connecting of `dial`."""
        if self._out:
            self._out = self._out[self._write(self._out) :]

    def connected(self) -> None:
        """The socket is writable for the first time. Raises ConnectionLost where connecting failed."""
        if code := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise ConnectionLost(errno.errorcode.get(code, str(code)))

    def read(self, size: int = RECEIVE_BYTES) -> tuple[list[mqtt5.Packet], bool]:
        """All packets that one read of at most `size` bytes completes, and whether the read was full."""
        data, full = self.receive(size)
        packets, used = parse(data)
        self.keep(data[used:])
        return packets, full

    def receive(self, size: int = RECEIVE_BYTES) -> tuple[bytes, bool]:
        """What one read of at most `size` bytes brings, behind what was kept; whether the read was full."""
        try:
            data = self.sock.recv(size)
        except BlockingIOError:
            return self._in, False
        except OSError as error:
            raise ConnectionLost(str(error)) from error
        if not data:
            raise ConnectionLost("the peer closed the connection")
        full = len(data) == size
        return (self._in + data if self._in else data), full

    def keep(self, rest: bytes) -> None:
        """The beginning of a packet whose end has not arrived: the next `receive` puts it in front."""
        if len(rest) > PACKET_BYTES_MAX:
            raise ConnectionLost(f"a packet is larger than {PACKET_BYTES_MAX} bytes")
        self._in = rest

    def finish(self, timeout_s: float) -> None:
        """Write what waits, say that no more follows, and close once the peer has; nothing raised.

        Closing at once, with something unread, would reset the connection, and the peer would lose what it
        had not read yet. What still comes is dropped.
        """
        deadline = time.monotonic() + timeout_s
        with contextlib.suppress(OSError):
            self.sock.settimeout(timeout_s)
            self.sock.sendall(self._out)
            self.sock.shutdown(socket.SHUT_WR)
            while self.sock.recv(RECEIVE_BYTES):
                self.sock.settimeout(max(0.0, deadline - time.monotonic()))
        self.close()

    def close(self) -> None:
        """Close the socket; nothing raised."""
        with contextlib.suppress(OSError):
            self.sock.close()

    def _write(self, data: bytes) -> int:
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ConnectionLost(str(error)) from error


def dial(host: str, port: int, *, source: str | None = None) -> Connection:
    """Begin to connect without waiting; writable means connected or failed (`Connection.connected`).

    `source` is a local address to connect from. Raises ConnectionLost where it fails at once.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The class below socket.socket: all that is wanted here, and 56 bytes less for each of a fleet's cars.
    sock = socket.SocketType(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        if source is not None:
            sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source, 0))
        sock.connect((host, port))
    except BlockingIOError:
        pass
    except OSError as error:
        sock.close()
        raise ConnectionLost(f"{host}:{port}: {error}") from error
    return Connection(sock)


def parse(data: bytes) -> tuple[list[mqtt5.Packet], int]:
    """All whole packets at the beginning of `data`, and how many bytes they take.

    Raises ConnectionLost for bytes that are no MQTT: what follows them cannot be trusted either.
    """
    packets: list[mqtt5.Packet] = []
    view = memoryview(data)
    position, end = 0, len(data)
    read, append = mqtt5.read, packets.append
    try:
        while position < end:
            packet, size = read(view[position:])
            append(packet)
            position += size
    except IndexError:
        pass  # the rest has not arrived yet
    except BaseException as error:
        raise _no_mqtt(error) from error
    return packets, position


def parse_one(data: bytes, position: int) -> tuple[mqtt5.Packet, int] | None:
    """The packet that begins at `position`, and its size; None where its end has not arrived yet.

    Raises ConnectionLost for bytes that are no MQTT.
    """
    try:
        return mqtt5.read(memoryview(data)[position:])
    except IndexError:
        return None
    except BaseException as error:
        raise _no_mqtt(error) from error


def _no_mqtt(error: BaseException) -> BaseException:
    """What to raise for an error of the codec, which panics at text that is not UTF-8."""
    known = isinstance(error, ValueError) or type(error).__name__ == "PanicException"
    return ConnectionLost(f"not MQTT: {error}") if known else error


def pubacks(packet_ids: Iterable[bytes]) -> bytes:
    """PUBACKs with success, in order: packet type 4, 2 bytes, the packet id (MQTT 5, section 3.4)."""
    return _PUBACK.join([b"", *packet_ids])
