"""Many MQTT connections on one epoll: connects at a bounded rate, reconnects, reads for the pipeline."""

import contextlib
import heapq
import itertools
import random
import select
import sys
import time
from dataclasses import dataclass, field

import mqtt5

from plumbing.login import ANONYMOUS, Login
from plumbing.mqtt import Connection, ConnectionLost, dial, keep_alive_s, parse
from plumbing.names import Names
from simulator.metrics import WorkerCounts
from simulator.settings import is_local

CONNECTING_MAX = 64  # to a broker; mosquitto's backlog of connections not accepted yet is 100
CONNECT_TIMEOUT_S = 10.0
BACK_OFF_FIRST_S, BACK_OFF_MAX_S = 0.5, 30.0
TAKEN_OVER_ATTEMPTS = 6  # wait as after so many failures: two fleets of the same cars would only fight
SESSION_EXPIRY_S = 3600  # time for which a broker keeps the session of a disconnected client
SOURCES_PER_WORKER = 32  # with a single source address the kernel searches its ports one by one
READ_BYTES = 4096
# Messages in flight of a client, even if its broker allows more. Python shares the integers up to 256; a
# larger one would take 32 bytes per car.
IN_FLIGHT_MAX = 256
EVENTS_MAX = 4096
# Time between two polls: many answers in one turn of the loop cost less than one in each.
PACE_S = 0.004

_TWIN = "does a second simulator run these cars? Give it another --first-car"
_DISCONNECT = b"\xe0\x00"
_PING = b"\xc0\x00"
_PUBACK_BYTES, _PUBACK = 4, b"\x40\x02"  # success needs no reason code (MQTT 5, section 3.4.2.1)


@dataclass(eq=False, slots=True)
class Client:
    """One MQTT client of this process: a car or the workshop."""

    id: str
    address: tuple[str, int]  # of its broker
    source: str | None  # address to connect from; None: chosen by the kernel
    connection: Connection | None = None
    online: bool = False  # the broker has accepted the connection
    pinged: bool = False  # a PINGREQ was sent and nothing was received since
    attempts: int = 0  # failed in a row
    heard_at: float = 0.0  # monotonic time at which something was last received
    window: int = 0  # messages that may be in flight


# A PUBACK with success, by far the most frequent packet, is represented by its packet id alone. A text says
# why the connection was lost.
Received = int | mqtt5.PubAckPacket | mqtt5.ConnAckPacket | str
Event = tuple[Client, Received]


@dataclass(eq=False, slots=True)
class _Broker:
    """The clients of one broker that are not connected: one that is away must not delay the others'."""

    host: str
    port: int
    waiting: list[tuple[float, int, Client]] = field(default_factory=list)  # a heap by the time to connect
    connecting: dict[Client, tuple[float, str]] = field(default_factory=dict)  # deadline, ascending; address

    def due(self, now: float) -> bool:
        """Whether a client may connect now."""
        return len(self.connecting) < CONNECTING_MAX and bool(self.waiting) and self.waiting[0][0] <= now


class Connections:
    """Keeps its clients connected; `turn` returns what they received."""

    def __init__(
        self, *, keep_alive_s: int, connects_per_s: float, counts: WorkerCounts, login: Login = ANONYMOUS
    ) -> None:
        self._login = login
        self._keep_alive_asked_s = self.keep_alive_s = keep_alive_s  # the least that a broker tolerates
        self._per_s, self._allowance, self._allowed_at = connects_per_s, 0.0, time.monotonic()
        self._counts = counts
        self._epoll = select.epoll()
        self._by_fd: list[Client | None] = []  # a dict would take 70 bytes more per client
        self._names = Names()
        self._brokers: dict[tuple[str, int], _Broker] = {}
        self._ticket = itertools.count()  # makes the entries of the heap comparable
        self._events: list[Event] = []

    def add(self, client: Client) -> None:
        """Connect this client as soon as the ramp-up allows."""
        self._brokers.setdefault(client.address, _Broker(*client.address))
        self._wait(client, 0.0)

    def turn(self, timeout_s: float) -> list[Event]:
        """Connect the clients that are due, then wait for events for at most timeout_s."""
        self._dial_due(time.monotonic())
        pause_s = min(timeout_s, PACE_S)
        time.sleep(pause_s)
        ready = self._epoll.poll(timeout_s - pause_s, EVENTS_MAX)
        now = time.monotonic()
        for fd, mask in ready:
            client = self._by_fd[fd]
            if client is not None:  # None: lost earlier in this turn
                self._serve(client, mask, now)
        events, self._events = self._events, []
        return events

    def send(self, client: Client, data: bytes) -> bool:
        """Send to a client that is online. Returns False if its connection turns out to be lost."""
        connection = client.connection
        if connection is None:
            return False
        try:
            connection.send(data)
        except ConnectionLost as error:
            self.lose(client, str(error))
            return False
        if connection.wants_write:
            self._epoll.modify(connection.fileno(), select.EPOLLIN | select.EPOLLOUT)
        return True

    def keep_alive(self, now: float) -> None:
        """Ping connections silent for half of the keep alive; reconnect those silent for all of it."""
        for client in [c for c in self._clients() if c.online]:
            silent_s = now - client.heard_at
            if client.pinged and silent_s > self.keep_alive_s:
                self.lose(client, "no answer to a ping")
            elif not client.pinged and silent_s > self.keep_alive_s / 2:
                client.pinged = True
                self.send(client, _PING)

    def lose(self, client: Client, why: str) -> None:
        """End the connection of a client, schedule a reconnect with back-off, and report why."""
        if client.online:
            self._counts.connected -= 1
            self._counts.lost_connections += 1
        _, unanswered = self._brokers[client.address].connecting.get(client, (0.0, None))
        self._names.lost(client.address[0], unanswered)
        self._drop(client)
        client.attempts += 1
        doubled_s = BACK_OFF_FIRST_S * 2 ** min(client.attempts - 1, 10)
        due = time.monotonic() + min(doubled_s, BACK_OFF_MAX_S) * random.uniform(0.5, 1.5)
        self._wait(client, due)
        self._events.append((client, why))

    def cut(self) -> None:
        """End all connections at once without a DISCONNECT, including those being established."""
        for client in self._clients():
            self.lose(client, "cut on request")

    def close(self) -> None:
        """Send a DISCONNECT on every connection and close it."""
        for client in self._clients():
            if client.online and client.connection is not None:
                with contextlib.suppress(ConnectionLost):  # the peer has closed it already
                    client.connection.send(_DISCONNECT)
            self._drop(client)
        self._counts.connected = 0
        self._epoll.close()

    def _clients(self) -> list[Client]:
        """The clients whose connection is established or being established."""
        return [client for client in self._by_fd if client is not None]

    def _drop(self, client: Client) -> None:
        client.online = client.pinged = False
        self._brokers[client.address].connecting.pop(client, None)
        if client.connection is not None:
            self._by_fd[client.connection.fileno()] = None
            client.connection.close()  # also removes it from the epoll
            client.connection = None

    def _wait(self, client: Client, due: float) -> None:
        heapq.heappush(self._brokers[client.address].waiting, (due, next(self._ticket), client))

    def _dial_due(self, now: float) -> None:
        """Connect the clients that are due, of each broker in turn, as far as the ramp-up allows."""
        self._allowance = min(self._allowance + (now - self._allowed_at) * self._per_s, CONNECTING_MAX)
        self._allowed_at = now
        for broker in self._brokers.values():
            while broker.connecting and next(iter(broker.connecting.values()))[0] < now:
                self.lose(next(iter(broker.connecting)), "no CONNACK in time")
        brokers = list(self._brokers.values())
        while brokers and self._allowance >= 1:
            brokers = [broker for broker in brokers if broker.due(now) and self._dial_next(broker, now)]
            self._allowance -= len(brokers)

    def _dial_next(self, broker: _Broker, now: float) -> bool:
        """Dial for the first client that waits for a broker. Returns False while its address is unknown."""
        client = heapq.heappop(broker.waiting)[2]
        try:
            if (address := self._names.address(broker.host)) is None:
                self._wait(client, now)
                return False
            client.connection = dial(address, broker.port, source=client.source)
        except ConnectionLost as error:
            self.lose(client, str(error))
            return True
        fd = client.connection.fileno()
        self._by_fd += [None] * (fd + 1 - len(self._by_fd))
        self._by_fd[fd] = client
        broker.connecting[client] = now + CONNECT_TIMEOUT_S, address
        self._epoll.register(fd, select.EPOLLOUT)
        return True

    def _serve(self, client: Client, mask: int, now: float) -> None:
        connection = client.connection
        assert connection is not None  # it has a file descriptor
        try:
            if mask & select.EPOLLIN:
                self._receive(client, connection, now)
            elif mask & select.EPOLLOUT:
                self._write(client, connection)
            else:  # hang-up or error, and nothing to read
                connection.connected()
                self.lose(client, "the peer hung up")
        except ConnectionLost as error:
            self.lose(client, str(error))

    def _write(self, client: Client, connection: Connection) -> None:
        if not client.online and not connection.wants_write:
            connection.connected()
            connect = mqtt5.ConnectPacket(
                client.id,
                username=self._login.username,
                password=self._login.password,
                clean_start=False,
                keep_alive=self._keep_alive_asked_s,
                session_expiry_interval=SESSION_EXPIRY_S,
            )
            connection.send(connect.write())
        else:
            connection.flush()
        if not connection.wants_write:
            self._epoll.modify(connection.fileno(), select.EPOLLIN)

    def _receive(self, client: Client, connection: Connection, now: float) -> None:
        data, _ = connection.receive(READ_BYTES)
        client.heard_at = now
        client.pinged = False
        if len(data) == _PUBACK_BYTES and data[:2] == _PUBACK and client.online:
            connection.keep(b"")
            self._events.append((client, data[2] << 8 | data[3]))
            return
        packets, used = parse(data)
        connection.keep(data[used:])
        for packet in packets:
            if isinstance(packet, mqtt5.PubAckPacket):
                success = packet.reason_code == mqtt5.PubAckReasonCode.SUCCESS
                self._events.append((client, packet.packet_id if success else packet))
            elif isinstance(packet, mqtt5.ConnAckPacket):
                self._connack(client, packet)
            elif isinstance(packet, mqtt5.DisconnectPacket):
                if packet.reason_code == mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER:
                    client.attempts = TAKEN_OVER_ATTEMPTS
                    raise ConnectionLost(f"another client is called {client.id}: {_TWIN}")
                raise ConnectionLost(f"the broker disconnected: {packet.reason_code.name}")

    def _connack(self, client: Client, packet: mqtt5.ConnAckPacket) -> None:
        if packet.reason_code != mqtt5.ConnAckReasonCode.SUCCESS:
            self._counts.refused_connections += 1
            raise ConnectionLost(f"the broker refused: {packet.reason_code.name} {packet.reason_str or ''}")
        if packet.max_qos == mqtt5.QoS.AT_MOST_ONCE:  # it would disconnect a client that publishes with more
            self._counts.refused_connections += 1
            raise ConnectionLost("the broker takes QoS 0 only, where messages may be lost: raise its max_qos")
        self.keep_alive_s = keep_alive_s(self.keep_alive_s, packet)
        self._brokers[client.address].connecting.pop(client, None)
        client.online, client.attempts = True, 0
        client.window = min(packet.receive_max, IN_FLIGHT_MAX)
        self._counts.connected += 1
        self._counts.connections += 1
        self._events.append((client, packet))


def source_address(broker: str, worker: int, number: int) -> str | None:
    """Loopback address to connect from, one of many; None if the broker is not on this machine."""
    if not is_local(broker):
        return None
    return sys.intern(f"127.0.{1 + worker % 250}.{1 + number % SOURCES_PER_WORKER}")
