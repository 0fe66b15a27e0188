"""The MQTT connection, over a pair of sockets."""

import contextlib
import select
import socket
import threading
from collections.abc import Iterator

import mqtt5
import pytest

from plumbing import mqtt
from plumbing.mqtt import Connection, ConnectionLost, dial, parse, pubacks

PUBLISH = mqtt5.PublishPacket(
    "fleet/v1/car/telemetry",
    b"payload",
    qos=mqtt5.QoS.AT_LEAST_ONCE,
    packet_id=513,
    user_properties=[("a", "b")],
)
STREAM = b"".join(
    packet.write()
    for packet in (mqtt5.ConnAckPacket(), PUBLISH, mqtt5.PubAckPacket(7), PUBLISH, mqtt5.PingRespPacket())
)
KINDS = ["ConnAckPacket", "PublishPacket", "PubAckPacket", "PublishPacket", "PingRespPacket"]


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    """A connection and its peer's socket."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(5)
    yield Connection(ours), theirs
    ours.close()
    theirs.close()


def _kinds(packets: list[mqtt5.Packet]) -> list[str]:
    return [type(packet).__name__ for packet in packets]


def test_packets_in_pieces_of_one_byte(pair: tuple[Connection, socket.socket]):
    """Whatever the pieces, every packet comes out once, whole and in order."""
    connection, peer = pair
    packets: list[mqtt5.Packet] = []
    for byte in STREAM:
        peer.send(bytes([byte]))
        packets += connection.read()[0]
    assert _kinds(packets) == KINDS
    assert packets[1].payload == b"payload"  # type: ignore[union-attr]


@pytest.mark.parametrize("cut", range(1, len(STREAM)))
def test_packets_in_two_pieces(pair: tuple[Connection, socket.socket], cut: int):
    """A read may end anywhere."""
    connection, peer = pair
    peer.send(STREAM[:cut])
    packets = connection.read()[0]
    peer.send(STREAM[cut:])
    assert _kinds(packets + connection.read()[0]) == KINDS


def test_nothing_to_read_is_no_error(pair: tuple[Connection, socket.socket]):
    """An empty read: no packets, not full."""
    assert pair[0].read() == ([], False)


def test_a_full_read_says_that_more_may_wait(pair: tuple[Connection, socket.socket]):
    """At most `size` bytes are read at once."""
    connection, peer = pair
    peer.send(STREAM)
    packets, full = connection.read(4)
    assert full
    rest, full = connection.read()
    assert not full
    assert _kinds(packets + rest) == KINDS


def test_the_peer_s_goodbye(pair: tuple[Connection, socket.socket]):
    """A closed connection is lost, and says why."""
    connection, peer = pair
    peer.close()
    with pytest.raises(ConnectionLost, match="the peer closed"):
        connection.read()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\x00",  # packet type 0
        b"\x20\xff\xff\xff\xff\xff",  # a remaining length of five bytes
        b"\x36\x09\x00\x01t\x00\x01\x00abc",  # QoS 3
        b"\x32\x05\x00\x09abc",  # a topic longer than its packet
        b"\x30\x05\x00\x01t\x01\x99",  # properties longer than the packet
        b"\x30\x06\x00\x02\xc3\x28\x00p",  # a topic that is not UTF-8
        b"\x20\x03\x00\x42\x00",  # a CONNACK with an unknown reason
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_bytes_that_are_no_mqtt_end_the_connection(pair: tuple[Connection, socket.socket], garbage: bytes):
    """Lost with the reason, never another exception, and never waiting for more of a packet that is whole."""
    connection, peer = pair
    peer.send(mqtt5.PingRespPacket().write() + garbage + bytes(64))
    with pytest.raises(ConnectionLost, match="not MQTT"):
        connection.read()


def test_a_packet_without_end_is_not_collected(
    pair: tuple[Connection, socket.socket], monkeypatch: pytest.MonkeyPatch
):
    """A packet over PACKET_BYTES_MAX ends the connection before it fills the memory."""
    monkeypatch.setattr(mqtt, "PACKET_BYTES_MAX", 1_000)
    connection, peer = pair
    peer.send(b"\x30\xff\xff\xff\x7f" + bytes(995))
    assert connection.read() == ([], False)
    peer.send(b"\0")
    with pytest.raises(ConnectionLost, match="larger than 1000 bytes"):
        connection.read()


def test_what_the_socket_does_not_take_waits_in_order(pair: tuple[Connection, socket.socket]):
    """send() never blocks; flush() writes the rest when there is room; nothing is lost or swapped."""
    connection, peer = pair
    sent = bytes(range(256)) * 8_192  # 2 MiB, more than a socket pair buffers
    connection.send(sent[:1_000_000])
    connection.send(sent[1_000_000:])
    assert connection.wants_write
    received = bytearray()
    while len(received) < len(sent):
        received += peer.recv(65_536)
        connection.flush()
    assert received == sent
    assert not connection.wants_write


@pytest.mark.parametrize("pieces", [1, 50])
def test_a_peer_that_does_not_read_cannot_fill_our_memory(
    pair: tuple[Connection, socket.socket], monkeypatch: pytest.MonkeyPatch, pieces: int
):
    """Over OUT_BYTES_MAX waiting bytes the connection is given up, whether they come at once or in pieces."""
    monkeypatch.setattr(mqtt, "OUT_BYTES_MAX", 100_000)

    def send() -> None:
        for _ in range(pieces):
            pair[0].send(bytes(2_000_000 // pieces))

    with pytest.raises(ConnectionLost, match="reads too slowly"):
        send()


def test_writing_to_a_peer_that_is_gone(pair: tuple[Connection, socket.socket]):
    """A broken pipe is a lost connection, in send and in flush."""
    connection, peer = pair
    connection.send(bytes(2_000_000))
    peer.close()
    with pytest.raises(ConnectionLost):
        connection.flush()
    with pytest.raises(ConnectionLost):
        Connection(connection.sock).send(b"x")


def test_finishing_lets_the_peer_read_everything(pair: tuple[Connection, socket.socket]):
    """With bytes waiting and bytes unread, the peer reads all of ours to the end, without a reset."""
    connection, peer = pair
    connection.send(bytes(2_000_000))
    peer.send(bytes(10_000))
    finishing = threading.Thread(target=connection.finish, args=(5.0,))
    finishing.start()
    received = 0
    while data := peer.recv(65_536):
        received += len(data)
    peer.close()
    finishing.join(5)
    assert received == 2_000_000
    assert connection.fileno() == -1


def test_finishing_does_not_wait_for_ever(pair: tuple[Connection, socket.socket]):
    """A peer that does not close, or goes on sending, is left at the deadline."""
    connection, peer = pair
    sending = threading.Thread(target=_send_until_it_fails, args=(peer,))
    sending.start()
    connection.finish(0.05)
    sending.join(5)
    assert not sending.is_alive()
    assert connection.fileno() == -1


def _send_until_it_fails(peer: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            peer.send(bytes(1_000))


def test_a_refused_dial_is_known_when_the_socket_is_writable():
    """dial() does not wait; connected() raises what became of it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]  # bound, but nobody listens
        connection = dial("127.0.0.1", port)
        select.select([], [connection], [], 5)
        with pytest.raises(ConnectionLost, match="ECONNREFUSED"):
            connection.connected()
        connection.close()


def test_a_dial_that_succeeds_comes_from_the_source_address():
    """connected() is silent, and the peer sees the address that was asked for."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = dial("127.0.0.1", server.getsockname()[1], source="127.0.3.4")
        select.select([], [connection], [], 5)
        connection.connected()
        accepted, where = server.accept()
        accepted.close()
        connection.close()
    assert where[0] == "127.0.3.4"


def test_a_dial_that_cannot_begin_is_lost_at_once():
    """An address that is not ours to connect from raises and leaves no socket open."""
    with pytest.raises(ConnectionLost, match=r"127\.0\.0\.1:1883"):
        dial("127.0.0.1", 1883, source="192.0.2.1")


def test_pubacks_are_as_the_standard_writes_them():
    """Type 4, remaining length 2, packet id, the highest byte first (MQTT 5, section 3.4)."""
    assert pubacks([b"\0\1", b"\2\1", b"\xff\xff"]) == bytes.fromhex("40020001 40020201 4002ffff")
    assert [packet.packet_id for packet in parse(pubacks([b"\0\3", b"\0\t"]))[0]] == [3, 9]  # type: ignore[union-attr]
    assert pubacks([]) == b""
