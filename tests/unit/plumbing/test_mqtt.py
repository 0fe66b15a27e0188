"""The MQTT connection over a pair of sockets."""

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
    """A connection and the socket of its peer."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(5)
    yield Connection(ours), theirs
    ours.close()
    theirs.close()


def _kinds(packets: list[mqtt5.Packet]) -> list[str]:
    return [type(packet).__name__ for packet in packets]


def test_packets_that_arrive_byte_by_byte(pair: tuple[Connection, socket.socket]):
    """Every packet is read once, whole and in order."""
    connection, peer = pair
    packets: list[mqtt5.Packet] = []
    for byte in STREAM:
        peer.send(bytes([byte]))
        packets += connection.read()[0]
    assert _kinds(packets) == KINDS
    assert packets[1].payload == b"payload"  # type: ignore[union-attr]


@pytest.mark.parametrize("cut", range(1, len(STREAM)))
def test_packets_that_arrive_in_two_pieces(pair: tuple[Connection, socket.socket], cut: int):
    """A read may end at any byte."""
    connection, peer = pair
    peer.send(STREAM[:cut])
    packets = connection.read()[0]
    peer.send(STREAM[cut:])
    assert _kinds(packets + connection.read()[0]) == KINDS


def test_nothing_to_read_is_no_error(pair: tuple[Connection, socket.socket]):
    """A read of nothing gives no packets and is not full."""
    assert pair[0].read() == ([], False)


def test_a_full_read_is_reported(pair: tuple[Connection, socket.socket]):
    """At most `size` bytes are read at once; a full read means that more may wait."""
    connection, peer = pair
    peer.send(STREAM)
    packets, full = connection.read(4)
    assert full
    rest, full = connection.read()
    assert not full
    assert _kinds(packets + rest) == KINDS


def test_a_connection_closed_by_the_peer(pair: tuple[Connection, socket.socket]):
    """ConnectionLost names the reason."""
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
def test_bytes_that_are_not_mqtt_end_the_connection(pair: tuple[Connection, socket.socket], garbage: bytes):
    """ConnectionLost, never another exception, and no waiting for more of a packet that is whole."""
    connection, peer = pair
    peer.send(mqtt5.PingRespPacket().write() + garbage + bytes(64))
    with pytest.raises(ConnectionLost, match="not MQTT"):
        connection.read()


def test_a_packet_that_is_too_large_ends_the_connection(
    pair: tuple[Connection, socket.socket], monkeypatch: pytest.MonkeyPatch
):
    """ConnectionLost before a packet over PACKET_BYTES_MAX fills the memory."""
    monkeypatch.setattr(mqtt, "PACKET_BYTES_MAX", 1_000)
    connection, peer = pair
    peer.send(b"\x30\xff\xff\xff\x7f" + bytes(995))
    assert connection.read() == ([], False)
    peer.send(b"\0")
    with pytest.raises(ConnectionLost, match="larger than 1000 bytes"):
        connection.read()


def test_bytes_that_the_socket_does_not_take_wait_in_order(pair: tuple[Connection, socket.socket]):
    """`send` never blocks; `flush` writes the rest when there is room; nothing is lost or reordered."""
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
def test_a_peer_that_does_not_read_ends_the_connection(
    pair: tuple[Connection, socket.socket], monkeypatch: pytest.MonkeyPatch, pieces: int
):
    """ConnectionLost above OUT_BYTES_MAX waiting bytes, whether sent at once or in pieces."""
    monkeypatch.setattr(mqtt, "OUT_BYTES_MAX", 100_000)

    def send() -> None:
        for _ in range(pieces):
            pair[0].send(bytes(2_000_000 // pieces))

    with pytest.raises(ConnectionLost, match="reads too slowly"):
        send()


def test_writing_to_a_peer_that_is_gone(pair: tuple[Connection, socket.socket]):
    """ConnectionLost for a broken pipe, from `send` and from `flush`."""
    connection, peer = pair
    connection.send(bytes(2_000_000))
    peer.close()
    with pytest.raises(ConnectionLost):
        connection.flush()
    with pytest.raises(ConnectionLost):
        Connection(connection.sock).send(b"x")


def test_finishing_lets_the_peer_read_everything(pair: tuple[Connection, socket.socket]):
    """With bytes waiting and bytes unread, the peer reads all of ours, without a reset."""
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


def test_finishing_ends_at_its_deadline(pair: tuple[Connection, socket.socket]):
    """A peer that goes on sending and does not close cannot hold it up."""
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
    """`dial` does not wait; `connected` raises the error."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]  # bound, but nobody listens
        connection = dial("127.0.0.1", port)
        select.select([], [connection], [], 5)
        with pytest.raises(ConnectionLost, match="ECONNREFUSED"):
            connection.connected()
        connection.close()


def test_a_dial_that_succeeds_comes_from_the_source_address():
    """`connected` raises nothing, and the peer sees the source address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = dial("127.0.0.1", server.getsockname()[1], source="127.0.3.4")
        select.select([], [connection], [], 5)
        connection.connected()
        accepted, peer = server.accept()
        accepted.close()
        connection.close()
    assert peer[0] == "127.0.3.4"


def test_a_dial_to_ipv6_needs_no_source():
    """The source is an IPv4 address, one of many on this machine; IPv6 chooses its own."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        connection = dial("::1", server.getsockname()[1], source="127.0.3.4")
        select.select([], [connection], [], 5)
        connection.connected()
        connection.close()


def test_a_dial_that_cannot_begin_is_lost_at_once():
    """A source address that this host does not have raises and leaves no socket open."""
    with pytest.raises(ConnectionLost, match=r"127\.0\.0\.1:1883"):
        dial("127.0.0.1", 1883, source="192.0.2.1")


@pytest.mark.parametrize("code", [0, 1, 5])
def test_a_broker_of_mqtt_311_is_named(code: int):
    """Its CONNACK has no properties: the message says what to do instead of which byte is wrong."""
    with pytest.raises(ConnectionLost, match=rf"MQTT 3\.1\.1 .*\(code {code}\): switch MQTT 5 on"):
        parse(bytes((0x20, 2, 0, code)))


def test_pubacks_are_those_of_the_standard():
    """Type 4, remaining length 2, packet id with the high byte first (MQTT 5, section 3.4)."""
    assert pubacks([b"\0\1", b"\2\1", b"\xff\xff"]) == bytes.fromhex("40020001 40020201 4002ffff")
    assert [packet.packet_id for packet in parse(pubacks([b"\0\3", b"\0\t"]))[0]] == [3, 9]  # type: ignore[union-attr]
    assert pubacks([]) == b""
