"""Many clients on one epoll against peers that misbehave: bounded connects, back-off, pings."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator

import mqtt5
import pytest

from simulator import connections
from simulator.connections import CONNECTING_MAX, Client, Connections, Event
from simulator.metrics import WorkerCounts

pytestmark = pytest.mark.integration

WELCOME = mqtt5.ConnAckPacket(session_present=False, receive_max=7).write()


class Peer:
    """A broker of which the test controls every answer."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.address = ("127.0.0.1", self.listener.getsockname()[1])
        self.accepted: list[socket.socket] = []

    def accept(self) -> socket.socket:
        """Accept the connection of a client."""
        self.listener.settimeout(5)
        sock, _ = self.listener.accept()
        self.accepted.append(sock)
        sock.settimeout(5)
        return sock

    def greet(self, sock: socket.socket, answer: bytes = WELCOME) -> mqtt5.ConnectPacket:
        packet, _ = mqtt5.read(memoryview(sock.recv(1000)))
        assert isinstance(packet, mqtt5.ConnectPacket)
        sock.sendall(answer)
        return packet

    def close(self) -> None:
        for sock in (*self.accepted, self.listener):
            sock.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def fleet() -> Iterator[Callable[..., Connections]]:
    opened: list[Connections] = []

    def fleet(counts: WorkerCounts, connects_per_s: float = 1e6, keep_alive_s: int = 60) -> Connections:
        opened.append(
            Connections(
                keep_alive_s=keep_alive_s,
                connects_per_s=connects_per_s,
                counts=counts,
            )
        )
        time.sleep(0.01)  # the allowance of the ramp-up starts at 0
        return opened[-1]

    yield fleet
    for each in opened:
        each.close()


def turn_until(
    fleet: Connections, enough: Callable[[list[Event]], bool], within_s: float = 5.0
) -> list[Event]:
    """Turn the loop until `enough` accepts its events; returns them."""
    events: list[Event] = []
    end = time.monotonic() + within_s
    while not enough(events):
        assert time.monotonic() < end, events
        events += fleet.turn(0.02)
    return events


def _connecting(fleet: Connections) -> int:
    """How many connects are pending."""
    return sum(len(broker.connecting) for broker in fleet._brokers.values())


def met(peer: Peer, fleet: Connections, client: Client, answer: bytes = WELCOME) -> socket.socket:
    """Connect a client and answer its CONNECT; returns the socket of the peer."""
    fleet.add(client)
    fleet.turn(0.1)
    sock = peer.accept()
    fleet.turn(0.1)
    peer.greet(sock, answer)
    return sock


def test_a_client_connects_and_reports_its_session(peer: Peer, fleet: Callable[..., Connections]) -> None:
    """CONNECT asks to keep the session; the receive maximum is taken from the CONNACK."""
    counts, car = WorkerCounts(), Client("car-000007", peer.address, "127.0.3.4")
    all_cars = fleet(counts)
    all_cars.add(car)
    all_cars.turn(0.1)
    sock = peer.accept()
    assert sock.getpeername()[0] == "127.0.3.4"
    all_cars.turn(0.1)
    hello = peer.greet(sock)
    assert (hello.client_id, hello.clean_start) == ("car-000007", False)
    assert (hello.keep_alive, hello.session_expiry_interval) == (60, 3600)
    events = turn_until(all_cars, bool)
    assert isinstance(events[0][1], mqtt5.ConnAckPacket)
    assert (car.online, car.window, counts.connected) == (True, 7, 1)


def test_the_number_of_pending_connects_is_bounded(peer: Peer, fleet: Callable[..., Connections]) -> None:
    """However many cars wait, no more connects are pending than the backlog of a broker takes."""
    all_cars = fleet(WorkerCounts())
    for number in range(150):
        all_cars.add(Client(f"car-{number}", peer.address, None))
    for _ in range(20):
        all_cars.turn(0.01)
    assert _connecting(all_cars) == CONNECTING_MAX


def test_a_broker_that_does_not_answer_keeps_no_other_cars_waiting(
    peer: Peer, fleet: Callable[..., Connections]
) -> None:
    """A hundred cars wait for a broker that is away; those of another one connect."""
    counts = WorkerCounts()
    all_cars = fleet(counts)
    with socket.create_server(("127.0.0.1", 0), backlog=200) as away:
        for number in range(100):
            all_cars.add(Client(f"away-{number}", away.getsockname(), None))
        for number in range(3):
            all_cars.add(Client(f"car-{number}", peer.address, None))
        for _ in range(3):
            turn_until(all_cars, lambda _: bool(_connecting(all_cars)))
            sock = peer.accept()
            turn_until(all_cars, lambda _: True)
            all_cars.turn(0.02)
            peer.greet(sock)
        turn_until(all_cars, lambda _: counts.connected == 3)


def test_cars_connect_at_the_rate_of_the_ramp_up(peer: Peer, fleet: Callable[..., Connections]) -> None:
    """At 100 connections per second about ten connects begin in a tenth of a second."""
    all_cars = fleet(WorkerCounts(), connects_per_s=100)
    for number in range(60):
        all_cars.add(Client(f"car-{number}", peer.address, None))
    end = time.monotonic() + 0.1
    while time.monotonic() < end:
        all_cars.turn(0.005)
    assert 3 <= _connecting(all_cars) <= 20


def test_a_refused_client_reconnects_later(peer: Peer, fleet: Callable[..., Connections]) -> None:
    """A CONNACK with an error is counted, its reason is reported, and the client connects again."""
    counts, car = WorkerCounts(), Client("car-1", peer.address, None)
    all_cars = fleet(counts)
    no = mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.NOT_AUTHORIZED).write()
    met(peer, all_cars, car, answer=no)
    events = turn_until(all_cars, bool)
    assert "NOT_AUTHORIZED" in str(events[0][1])
    assert (counts.refused_connections, counts.connected, car.attempts) == (1, 0, 1)
    sock = None
    with contextlib.suppress(TimeoutError):
        turn_until(all_cars, lambda _: car.connection is not None)
        sock = peer.accept()
    assert sock is not None


def test_refused_tcp_connections_are_retried(fleet: Callable[..., Connections]) -> None:
    """If the broker is down, each client waits for its back-off and nothing is raised."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = ("127.0.0.1", gone.getsockname()[1])
    all_cars = fleet(WorkerCounts())
    for number in range(10):
        all_cars.add(Client(f"car-{number}", address, None))
    events = turn_until(all_cars, lambda seen: len(seen) >= 10)
    assert all(isinstance(why, str) and "ECONNREFUSED" in why for _, why in events)


def test_an_unknown_host_is_retried(fleet: Callable[..., Connections]) -> None:
    """A name that does not resolve (a broker not yet deployed) is a lost connection, not a crash."""
    all_cars = fleet(WorkerCounts())
    all_cars.add(Client("car-1", ("broker.invalid", 1883), None))
    assert isinstance(turn_until(all_cars, bool, within_s=20)[0][1], str)


def test_a_connect_without_an_answer_times_out(
    peer: Peer, fleet: Callable[..., Connections], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a CONNACK in time the connection is closed, and the client connects again later."""
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 0.1)
    all_cars = fleet(WorkerCounts())
    all_cars.add(Client("car-1", peer.address, None))
    events = turn_until(all_cars, bool)
    assert events[0][1] == "no CONNACK in time"


def test_bytes_that_are_not_mqtt_end_the_connection(peer: Peer, fleet: Callable[..., Connections]) -> None:
    """After invalid bytes the stream cannot be trusted any more."""
    counts, car = WorkerCounts(), Client("car-1", peer.address, None)
    all_cars = fleet(counts)
    sock = met(peer, all_cars, car)
    turn_until(all_cars, bool)
    sock.sendall(b"\xff" * 20)
    assert isinstance(turn_until(all_cars, bool)[0][1], str)
    assert (counts.connected, counts.lost_connections) == (0, 1)


def test_a_silent_broker_is_pinged_and_the_connection_ended(
    peer: Peer, fleet: Callable[..., Connections]
) -> None:
    """After half of the keep alive a PINGREQ is sent; without an answer the connection is ended."""
    all_cars = fleet(WorkerCounts(), keep_alive_s=10)
    car = Client("car-1", peer.address, None)
    sock = met(peer, all_cars, car)
    turn_until(all_cars, bool)
    all_cars.keep_alive(car.heard_at + 4)
    assert not car.pinged
    all_cars.keep_alive(car.heard_at + 6)
    assert sock.recv(10) == b"\xc0\x00"
    all_cars.keep_alive(car.heard_at + 11)
    assert all_cars.turn(0)[0][1] == "no answer to a ping"


def test_the_brokers_keep_alive_is_kept(peer: Peer, fleet: Callable[..., Connections]) -> None:
    """The broker tolerates 4 s of silence, less than the car asked for: a PINGREQ after 2 s."""
    all_cars = fleet(WorkerCounts(), keep_alive_s=60)
    car = Client("car-1", peer.address, None)
    sock = met(peer, all_cars, car, mqtt5.ConnAckPacket(server_keep_alive=4).write())
    turn_until(all_cars, bool)
    all_cars.keep_alive(car.heard_at + 2.1)
    assert sock.recv(10) == b"\xc0\x00"


def test_a_broker_without_qos_1_is_refused(peer: Peer, fleet: Callable[..., Connections]) -> None:
    """It would disconnect a car at its first sample, again and again."""
    counts = WorkerCounts()
    all_cars = fleet(counts)
    no = mqtt5.ConnAckPacket(max_qos=mqtt5.QoS.AT_MOST_ONCE).write()
    met(peer, all_cars, Client("car-1", peer.address, None), no)
    assert "raise its max_qos" in str(turn_until(all_cars, bool)[0][1])
    assert (counts.refused_connections, counts.connected) == (1, 0)


def test_a_car_that_was_taken_over_waits_long(peer: Peer, fleet: Callable[..., Connections]) -> None:
    """Two fleets of the same cars do not fight: the event names the cause, the next attempt is 15 s away."""
    all_cars, car = fleet(WorkerCounts()), Client("car-1", peer.address, None)
    sock = met(peer, all_cars, car)
    turn_until(all_cars, bool)
    taken = mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER
    sock.sendall(mqtt5.DisconnectPacket(reason_code=taken).write())
    assert "another client is called car-1" in str(turn_until(all_cars, bool)[0][1])
    assert all_cars._brokers[peer.address].waiting[0][0] > time.monotonic() + 14


def test_an_answered_ping_keeps_the_connection(peer: Peer, fleet: Callable[..., Connections]) -> None:
    """A PINGRESP keeps the connection alive."""
    all_cars = fleet(WorkerCounts(), keep_alive_s=10)
    car = Client("car-1", peer.address, None)
    sock = met(peer, all_cars, car)
    turn_until(all_cars, bool)
    all_cars.keep_alive(car.heard_at + 6)
    sock.sendall(b"\xd0\x00")
    all_cars.turn(0.5)
    assert not car.pinged
    assert car.online


def test_a_puback_with_success_is_its_packet_id_and_any_other_stays_a_packet(
    peer: Peer, fleet: Callable[..., Connections]
) -> None:
    """Alone, several in one read, or in pieces; "no matching subscribers" never counts as a delivery."""
    all_cars = fleet(WorkerCounts())
    sock = met(peer, all_cars, Client("car-1", peer.address, None))
    turn_until(all_cars, bool)
    nobody = mqtt5.PubAckPacket(4, reason_code=mqtt5.PubAckReasonCode.NO_MATCHING_SUBSCRIBERS)
    for sent, received in (
        (mqtt5.PubAckPacket(259).write(), [259]),
        (mqtt5.PubAckPacket(2).write() + mqtt5.PubAckPacket(3).write(), [2, 3]),
        (nobody.write(), [nobody]),
        (mqtt5.PubAckPacket(5).write() + nobody.write()[:3], [5]),
        (nobody.write()[3:] + mqtt5.PubAckPacket(6).write()[:2], [nobody]),
        (mqtt5.PubAckPacket(6).write()[2:], [6]),
        (mqtt5.PubAckPacket(7).write(), [7]),
    ):
        sock.sendall(sent)
        assert [packet for _, packet in turn_until(all_cars, bool)] == received
