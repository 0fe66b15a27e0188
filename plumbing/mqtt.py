"""One MQTT 5 connection: a non-blocking socket and the sans-I/O codec `mqtt5`; nothing here waits.

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
_CONNACK_311 = b"\x20\x02"  # without properties, which every CONNACK of MQTT 5 has

# Linux: choose the source port at connect(), when the peer is known. Without it the kernel searches the port
# range one by one for many connections from one address (ten times the CPU at 16 000 connections).
_IP_BIND_ADDRESS_NO_PORT = 24


class ConnectionLost(Exception):
    """The connection can no longer be used; the message says why."""


class Connection:
    """One connection, made by `dial`. All methods except `finish` and `close` raise ConnectionLost."""

    __slots__ = ("_in", "_out", "sock")

    def __init__(self, sock: socket.SocketType) -> None:
        self.sock = sock
        self._in = b""  # the beginning of a packet whose end has not arrived
        self._out = b""  # bytes that the socket has not taken yet

    def fileno(self) -> int:
        """For epoll."""
        return self.sock.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether bytes wait for the socket: poll it for writability."""
        return bool(self._out)

    def send(self, data: bytes) -> None:
        """Write what the socket takes now and keep the rest, at most OUT_BYTES_MAX, for `flush`."""
        if not self._out:
            written = self._write(data)
            if written == len(data):
                return
            data = data[written:]
        if len(self._out) + len(data) > OUT_BYTES_MAX:
            raise ConnectionLost(f"the peer reads too slowly: over {OUT_BYTES_MAX} bytes wait")
        self._out += data

    def flush(self) -> None:
        """The socket is writable: write what waits."""
        if self._out:
            self._out = self._out[self._write(self._out) :]

    def connected(self) -> None:
        """The socket is writable for the first time: raise ConnectionLost if connecting failed."""
        if code := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise ConnectionLost(errno.errorcode.get(code, str(code)))

    def read(self, size: int = RECEIVE_BYTES) -> tuple[list[mqtt5.Packet], bool]:
        """(packets that one read of at most `size` bytes completes, whether the read was full)."""
        data, full = self.receive(size)
        packets, used = parse(data)
        self.keep(data[used:])
        return packets, full

    def receive(self, size: int = RECEIVE_BYTES) -> tuple[bytes, bool]:
        """(kept bytes and those of one read of at most `size`, whether the read was full)."""
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
        """Keep the beginning of a packet whose end has not arrived; the next `receive` puts it in front."""
        if len(rest) > PACKET_BYTES_MAX:
            raise ConnectionLost(f"a packet is larger than {PACKET_BYTES_MAX} bytes")
        self._in = rest

    def finish(self, timeout_s: float) -> None:
        """Write what waits, shut down our side, and close once the peer has; raises nothing.

        Closing at once with unread bytes would reset the connection, and the peer would lose what it has not
        read yet. Bytes that still arrive are dropped.
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
        """Close the socket; raises nothing."""
        with contextlib.suppress(OSError):
            self.sock.close()

    def _write(self, data: bytes) -> int:
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ConnectionLost(str(error)) from error


def dial(address: str, port: int, *, source: str | None = None) -> Connection:
    """Begin to connect. The socket is writable once it has connected or failed (`Connection.connected`).

    `address` is numeric, because looking up a name blocks (`plumbing.names`). `source` is a local IPv4
    address to connect from, unless `address` is of IPv6. Raises ConnectionLost where it fails at once.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # socket.socket's base class has all that is needed, in 56 bytes less a connection.
    sock = socket.SocketType(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        if source is not None and family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source, 0))
        sock.connect((address, port))
    except BlockingIOError:
        pass
    except OSError as error:
        sock.close()
        raise ConnectionLost(f"{address}:{port}: {error}") from error
    return Connection(sock)


def parse(data: bytes) -> tuple[list[mqtt5.Packet], int]:
    """(all whole packets at the beginning of `data`, the bytes they take). Raises as `parse_one`."""
    packets: list[mqtt5.Packet] = []
    position = 0
    while parsed := parse_one(data, position):
        packets.append(parsed[0])
        position += parsed[1]
    return packets, position


def parse_one(data: bytes, position: int) -> tuple[mqtt5.Packet, int] | None:
    """(packet that begins at `position`, its size); None where its end has not arrived yet.

    Raises ConnectionLost for bytes that are not MQTT: what follows them cannot be trusted either.
    """
    if position == len(data):
        return None
    try:
        return mqtt5.read(memoryview(data)[position:])
    except IndexError:
        return None
    except BaseException as error:  # the codec panics at text that is not UTF-8
        if isinstance(error, ValueError) or type(error).__name__ == "PanicException":
            raise ConnectionLost(_not_mqtt_5(data[position:], error)) from error
        raise


def _not_mqtt_5(data: bytes, error: BaseException) -> str:
    if data[:2] == _CONNACK_311 and len(data) == len(_CONNACK_311) + 2:
        return (
            f"it answers as MQTT 3.1.1 does (code {data[3]}): switch MQTT 5 on there, or take a broker that "
            "has it, such as mosquitto 1.6 or newer"
        )
    return f"not MQTT: {error}"


def keep_alive_s(asked: int, answer: mqtt5.ConnAckPacket) -> int:
    """The seconds of silence that a broker tolerates: its own number, if that is less than what was asked.

    A client must keep to it (MQTT 5, section 3.2.2.3.14). 0 means that the broker tolerates any.
    """
    return min(asked, answer.server_keep_alive or asked)


def pubacks(packet_ids: Iterable[bytes]) -> bytes:
    """PUBACKs with the reason code success: type 4, length 2, the packet id (MQTT 5, section 3.4)."""
    return _PUBACK.join([b"", *packet_ids])
