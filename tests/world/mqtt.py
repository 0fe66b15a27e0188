"""An MQTT broker in memory, the sockets and the epoll that lead a bridge to it, and the cars before it."""

import select
from collections import Counter, deque
from typing import Any

import mqtt5

from contract.topics import mqtt_topic
from plumbing.mqtt import ConnectionLost, parse
from tests.world.processes import Process, Schedule

_RECEIVE_MAX = 65_535
_LATENCY_S = 0.002
# A car sends the samples of its last seconds again to a broker that has forgotten its session.
SENT_AGAIN_SAMPLES = 25


class Socket:
    """The bridge's end of a TCP connection."""

    def __init__(self, schedule: Schedule, process: Process, number: int) -> None:
        self._schedule, self._process, self._number = schedule, process, number
        self.inbox = b""
        self.cut = False  # by the broker, or by the network
        self.broker: Broker | None = None  # where the bytes go
        self._wait_s = 0.0
        process.at_death.append(self.close)

    def fileno(self) -> int:
        return self._number

    def recv(self, size: int) -> bytes:
        self._process.call()
        if not self.inbox and not self.cut:
            if not self._wait_s:
                raise BlockingIOError
            self._process.wait(self._wait_s, lambda: self.inbox or self.cut)
        if self.inbox:  # what has arrived: not always everything
            size = min(size, self._schedule.random.randint(1, 2 * len(self.inbox)))
        data, self.inbox = self.inbox[:size], self.inbox[size:]
        return data

    def send(self, data: bytes) -> int:
        self._process.call()
        if self.cut or self.broker is None:
            raise ConnectionResetError("cut")
        broker = self.broker
        self._schedule.after(_LATENCY_S, lambda: broker.receive(self, data))
        return len(data)

    sendall = send

    def settimeout(self, seconds: float) -> None:
        self._wait_s = seconds

    def getsockopt(self, *_: int) -> int:
        return 0 if self.broker is not None and not self.cut else 111  # ECONNREFUSED

    def shutdown(self, _: int) -> None:
        if self.broker is not None:
            self.broker.drop(self, after_s=2 * _LATENCY_S)

    def close(self) -> None:
        if self.broker is not None:
            self.broker.drop(self)


class Epoll:
    """epoll for the sockets of one process."""

    def __init__(self, process: Process, sockets: dict[int, Socket]) -> None:
        self._process, self._sockets = process, sockets
        self._masks: dict[int, int] = {}

    def register(self, number: int, mask: int) -> None:
        self._masks[number] = mask

    modify = register

    def unregister(self, number: int) -> None:
        del self._masks[number]

    def poll(self, timeout_s: float) -> list[tuple[int, int]]:
        self._process.call()
        if timeout_s and not self._events():
            self._process.wait(timeout_s, self._events)
        return self._events()

    def close(self) -> None:
        self._masks = {}

    def _events(self) -> list[tuple[int, int]]:
        events = []
        for number, mask in self._masks.items():
            socket = self._sockets[number]
            ready = select.EPOLLOUT | (select.EPOLLIN if socket.inbox or socket.cut else 0)
            ready |= select.EPOLLRDHUP if socket.cut else 0
            if ready & mask:
                events.append((number, ready & mask))
        return events


class Session:
    """What a broker keeps of a client: the messages for it, those without an acknowledgement first."""

    def __init__(self) -> None:
        self.queue: deque[tuple[str, bytes]] = deque()
        self.unacknowledged: dict[int, tuple[str, bytes]] = {}  # by packet id, in order of sending
        self.socket: Socket | None = None
        self.subscribed = False
        self.next_id = 0


class Broker:
    """QoS 1 with sessions that last; as mosquitto it sends again, in order, what was not acknowledged."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self.sessions: dict[str, Session] = {}
        self.away_until_s = 0.0
        self.generation = 0  # how often it has forgotten everything
        self._of_socket: dict[Socket, Session | None] = {}

    @property
    def away(self) -> bool:
        return self._schedule.now < self.away_until_s

    @property
    def samples_held_max(self) -> int:
        """The most messages of a car that a session holds."""
        held = [
            Counter(topic for topic, _ in (*session.unacknowledged.values(), *session.queue))
            for session in self.sessions.values()
        ]
        return max((count for counts in held for count in counts.values()), default=0)

    def accept(self, socket: Socket) -> None:
        """A client dials."""
        if not self.away:
            socket.broker = self
            self._of_socket[socket] = None

    def publish(self, topic: str, payload: bytes) -> bool:
        """A car publishes; returns whether there is a subscriber, so that the broker keeps the message."""
        subscribed = [session for session in self.sessions.values() if session.subscribed]
        for session in subscribed:
            session.queue.append((topic, payload))
            self._send_on(session)
        return bool(subscribed)

    def receive(self, socket: Socket, data: bytes) -> None:
        """Bytes from a client arrive, whole packets."""
        if socket not in self._of_socket:
            return
        for packet in parse(data)[0]:
            session = self._of_socket[socket]
            if isinstance(packet, mqtt5.ConnectPacket):
                self._connect(socket, packet.client_id)
            elif isinstance(packet, mqtt5.DisconnectPacket) or session is None:
                self.drop(socket)
                return
            elif isinstance(packet, mqtt5.SubscribePacket):
                session.subscribed = True
                self._write(socket, mqtt5.SubAckPacket(packet.packet_id, [mqtt5.SubAckReasonCode(1)]).write())
            elif isinstance(packet, mqtt5.PingReqPacket):
                self._write(socket, mqtt5.PingRespPacket().write())
            elif isinstance(packet, mqtt5.PubAckPacket):
                session.unacknowledged.pop(packet.packet_id, None)

    def _connect(self, socket: Socket, client_id: str) -> None:
        present = client_id in self.sessions
        session = self.sessions.setdefault(client_id, Session())
        if session.socket is not None:
            self.drop(session.socket)
        session.socket, self._of_socket[socket] = socket, session
        self._write(socket, mqtt5.ConnAckPacket(session_present=present).write())
        for number, (topic, payload) in session.unacknowledged.items():
            self._write(socket, _publish(topic, payload, number, again=True))
        self._send_on(session)

    def _send_on(self, session: Session) -> None:
        while session.socket and session.queue:
            session.next_id = session.next_id % _RECEIVE_MAX + 1
            session.unacknowledged[session.next_id] = message = session.queue.popleft()
            self._write(session.socket, _publish(*message, session.next_id))

    def _write(self, socket: Socket, data: bytes) -> None:
        socket.inbox += data

    def drop(self, socket: Socket, after_s: float = 0.0) -> None:
        """Close a connection, at once or when what was sent has arrived."""
        if after_s:
            self._schedule.after(after_s, lambda: self.drop(socket))
        elif socket in self._of_socket:
            session = self._of_socket.pop(socket)
            if session is not None:
                session.socket = None
            socket.cut = True

    def stop(self, away_s: float, *, forget: bool) -> None:
        """End all connections for a while; `forget`: as SIGKILL does, with all sessions."""
        for socket in list(self._of_socket):
            self.drop(socket)
        self.away_until_s = self._schedule.now + away_s
        if forget:
            self.sessions, self.generation = {}, self.generation + 1


class Car:
    """Sends its samples in order, again until the broker has acknowledged them."""

    def __init__(self, schedule: Schedule, broker: Broker, car_id: str) -> None:
        self._schedule, self._broker = schedule, broker
        self.car_id, self._topic = car_id, mqtt_topic(car_id, "telemetry")
        self.sent: list[bytes] = []  # the sample with seq 1 first
        self._acknowledged = 0
        self._generation = 0
        self.unreliable = 0.0  # share of acknowledgements that do not arrive

    @property
    def all_acknowledged(self) -> bool:
        return self._acknowledged == len(self.sent)

    def sample(self, payload: bytes) -> None:
        """Take a sample, and send."""
        self.sent.append(payload)
        self.send()

    def send(self) -> None:
        """Send what is not acknowledged."""
        if self._broker.away:
            return
        if self._generation != self._broker.generation:
            self._generation = self._broker.generation
            self._acknowledged = max(0, self._acknowledged - SENT_AGAIN_SAMPLES)
        while self._acknowledged < len(self.sent):
            if not self._broker.publish(self._topic, self.sent[self._acknowledged]):
                return
            if self._schedule.random.random() < self.unreliable:
                return  # the connection breaks before the acknowledgement
            self._acknowledged += 1


def dialled(socket: Socket, broker: Broker) -> None:
    """Connect a socket to a broker. Raises ConnectionLost at once where nobody listens."""
    broker.accept(socket)
    if socket.broker is None:
        raise ConnectionLost("Connection refused")


def _publish(topic: str, payload: bytes, number: int, *, again: bool = False) -> bytes:
    packet: Any = mqtt5.PublishPacket(
        topic, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=number, duplicate=again
    )
    return bytes(packet.write())
