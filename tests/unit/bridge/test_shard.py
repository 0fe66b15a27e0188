"""One broker shard, with a connection that the test controls."""

from typing import Any

import mqtt5
import pytest

from bridge import shard as module
from bridge.forwarding import Forwarded
from bridge.settings import Settings
from bridge.shard import Shard
from plumbing.mqtt import ConnectionLost, parse

SUBSCRIBED = [
    mqtt5.ConnAckPacket(),
    mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE]),
]


class _Connection:
    """Receives what the test puts into `inbox`; records what is sent and what is kept for the next read."""

    def __init__(self) -> None:
        self.inbox: list[Any] = []
        self.kept = b""
        self.sent: list[Any] = []
        self.wants_write = self.closed = False
        self.refused = ""
        self.finished_within_s = 0.0

    def connected(self) -> None:
        if self.refused:
            raise ConnectionLost(self.refused)

    def receive(self) -> tuple[bytes, bool]:
        packets, self.inbox = self.inbox, []
        return b"".join(packet.write() for packet in packets), False

    def keep(self, rest: bytes) -> None:
        self.kept = rest

    def send(self, data: bytes) -> None:
        self.sent += parse(data)[0]

    def finish(self, timeout_s: float) -> None:
        self.finished_within_s = timeout_s

    def close(self) -> None:
        self.closed = True


def _forward(data: bytes) -> Forwarded:
    """As `Forwarder.forward`, without Kafka."""
    packets, used_bytes = parse(data)
    read = Forwarded(used_bytes)
    for packet in packets:
        if isinstance(packet, mqtt5.PublishPacket):
            read.publishes += 1
            read.packet_ids += [] if packet.packet_id is None else [packet.packet_id.to_bytes(2, "big")]
        else:
            read.other_packets.append(packet)
    return read


def _shard(number: int, shared_group: str | None = None) -> Shard:
    brokers = tuple(f"broker-{n}:1883" for n in range(4))
    settings = Settings(
        mqtt_brokers=brokers,
        kafka_bootstrap="k:1",
        in_flight_max=10,
        keep_alive_s=30,
        shared_group=shared_group,
    )
    return Shard(number, settings, _forward)


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[_Connection]:
    """The connections that the shard dialled, in order."""
    made: list[_Connection] = []

    def dial(_host: str, _port: int) -> _Connection:
        made.append(_Connection())
        return made[-1]

    monkeypatch.setattr(module, "dial", dial)
    return made


@pytest.fixture
def shard(dialled: list[_Connection]) -> Shard:
    """A shard that connected and subscribed at time 0."""
    shard = _shard(3)
    _connect(shard, dialled, now=0.0)
    return shard


def _connect(shard: Shard, dialled: list[_Connection], now: float) -> None:
    shard.tick(now)
    shard.writable(now + 0.001)
    dialled[-1].inbox += SUBSCRIBED
    shard.readable(now + 0.002)


def _publish(*packet_ids: int) -> list[mqtt5.PublishPacket]:
    qos = mqtt5.QoS.AT_LEAST_ONCE
    return [mqtt5.PublishPacket("fleet/v1/c/telemetry", b"x", qos=qos, packet_id=i) for i in packet_ids]


def _receive(shard: Shard, connection: _Connection, *packet_ids: int, now: float = 1.0) -> None:
    connection.inbox += _publish(*packet_ids)
    shard.readable(now)


def _acknowledged(connection: _Connection) -> list[int]:
    return [packet.packet_id for packet in connection.sent if isinstance(packet, mqtt5.PubAckPacket)]


def test_the_session_outlives_the_connection(shard: Shard, dialled: list[_Connection]):
    """CONNECT has the stable client id, no clean start, no session expiry, and a bound for packets."""
    connect, subscribe = dialled[0].sent
    assert (connect.client_id, connect.clean_start) == ("bridge-3", False)
    assert connect.session_expiry_interval == 0xFFFFFFFF
    assert connect.receive_max == 10
    assert connect.max_packet_size == 4 * 1_048_576
    assert [f.pattern for f in subscribe.topic_filters] == ["fleet/v1/#"]
    assert subscribe.topic_filters[0].max_qos == mqtt5.QoS.AT_LEAST_ONCE
    assert shard.subscribed


def test_a_shared_group_is_in_the_topic_filter(dialled: list[_Connection]):
    """With --shared-group the filter begins with $share and the group."""
    shard = _shard(0, shared_group="edge")
    _connect(shard, dialled, now=0.0)
    assert [f.pattern for f in dialled[0].sent[1].topic_filters] == ["$share/edge/fleet/v1/#"]


def test_pubacks_go_out_in_order_of_arrival_and_once(shard: Shard, dialled: list[_Connection]):
    """`acknowledge` covers everything read since the last call, in its order; the next call sends nothing."""
    for packet_ids in ((7, 3), (9,), (1, 4)):
        _receive(shard, dialled[0], *packet_ids)
    assert _acknowledged(dialled[0]) == []
    assert shard.in_flight == 5
    assert shard.acknowledge(1.0) == 5
    assert _acknowledged(dialled[0]) == [7, 3, 9, 1, 4]
    assert shard.in_flight == 0
    assert shard.acknowledge(1.0) == 0


def test_messages_without_a_packet_id_are_counted_and_not_acknowledged(
    shard: Shard, dialled: list[_Connection]
):
    """QoS 0 messages are forwarded too; there is no PUBACK for them."""
    dialled[0].inbox += [mqtt5.PublishPacket("fleet/v1/c/telemetry", b"x"), *_publish(5)]
    shard.readable(1.0)
    assert shard.in_flight == 2
    assert shard.acknowledge(1.0) == 1
    assert _acknowledged(dialled[0]) == [5]


def test_a_lost_connection_forgets_its_acknowledgements(shard: Shard, dialled: list[_Connection]):
    """Packet ids are valid on one connection only: none of the old ones is acknowledged on the next."""
    _receive(shard, dialled[0], *range(1, 11))
    shard.lose(2.0, ConnectionLost("gone"))
    assert dialled[0].closed
    assert (shard.in_flight, shard.subscribed, shard.connection) == (0, False, None)
    _connect(shard, dialled, now=10.0)
    assert shard.acknowledge(11.0) == 0
    _receive(shard, dialled[1], 1, now=11.0)
    shard.acknowledge(11.0)
    assert _acknowledged(dialled[1]) == [1]


def test_the_waits_before_dialling_again_grow(shard: Shard, dialled: list[_Connection]):
    """Back-off with jitter from 0.2 s to 5 s; a successful subscription resets it."""
    now = 100.0
    waits = []
    for _ in range(8):
        shard.lose(now, ConnectionLost("gone"))
        before = len(dialled)
        start = now
        while len(dialled) == before:
            now += 0.05
            shard.tick(now)
        waits.append(now - start)
    assert waits[0] <= 0.45
    assert 2.4 < waits[-1] < 5.1
    dialled[-1].inbox += SUBSCRIBED
    shard.readable(now)
    shard.lose(now, ConnectionLost("gone"))
    shard.tick(now + 0.45)
    assert shard.connection is not None


def test_repeated_losses_are_logged_with_a_hint(
    shard: Shard, dialled: list[_Connection], caplog: pytest.LogCaptureFixture
):
    """Lost soon after each subscription: a second client of that name. Never connected: the address."""
    for now in (1.0, 10.0, 20.0):
        shard.lose(now, ConnectionLost("closed"))
        _connect(shard, dialled, now=now + 6)
    assert ["called bridge-3" in message for message in caplog.messages] == [False, False, True]
    assert "--ordinal of its own" in caplog.messages[2]
    for now in (100.0, 101.0, 102.0):
        shard.lose(now, ConnectionLost("ECONNREFUSED"))
    assert ["--mqtt-brokers right" in message for message in caplog.messages[3:]] == [False, False, True]


def test_a_refused_connection_is_lost(dialled: list[_Connection], shard: Shard):
    """ConnectionLost with the reason where TCP does not connect."""
    shard.lose(1.0, ConnectionLost("gone"))
    shard.tick(10.0)
    dialled[1].refused = "ECONNREFUSED"
    with pytest.raises(ConnectionLost, match="ECONNREFUSED"):
        shard.writable(10.0)


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.NOT_AUTHORIZED), "refused: NOT_AUTHORIZED"),
        (
            mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.NOT_AUTHORIZED]),
            "fleet/v1/# refused: NOT_AUTHORIZED",
        ),
        (
            mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER),
            "SESSION_TAKEN_OVER",
        ),
    ],
)
def test_a_refusal_by_the_broker_is_a_lost_connection(
    shard: Shard, dialled: list[_Connection], packet: Any, reason: str
):
    """Not authorised, subscription refused, session taken over: ConnectionLost with the reason."""
    dialled[0].inbox.append(packet)
    with pytest.raises(ConnectionLost, match=reason):
        shard.readable(1.0)


def test_pings_keep_the_session_alive_also_while_paused(shard: Shard, dialled: list[_Connection]):
    """PINGREQ goes out when nothing was sent for half the keep-alive interval."""
    shard.tick(14.0)
    assert not any(isinstance(packet, mqtt5.PingReqPacket) for packet in dialled[0].sent)
    shard.tick(15.5, listening=False)
    assert isinstance(dialled[0].sent[-1], mqtt5.PingReqPacket)


def test_a_silent_broker_is_given_up(shard: Shard):
    """ConnectionLost after one and a half keep-alive intervals without a byte."""
    shard.tick(44.0)
    with pytest.raises(ConnectionLost, match="silent for 45 s"):
        shard.tick(45.5)


def test_silence_counts_only_while_the_socket_is_read(shard: Shard):
    """Nothing is read while Kafka is waited for; the silence counts anew after that."""
    shard.tick(500.0, listening=False)
    shard.acknowledge(501.0)
    shard.tick(502.0)
    assert shard.connection is not None
    with pytest.raises(ConnectionLost, match="silent"):
        shard.tick(546.5)


def test_a_broker_that_never_answers_the_connect_is_given_up(dialled: list[_Connection], shard: Shard):
    """CONNACK and SUBACK must arrive within 10 s."""
    shard.lose(1.0, ConnectionLost("gone"))
    shard.tick(10.0)
    shard.writable(10.0)
    shard.tick(19.0)
    with pytest.raises(ConnectionLost, match="no answer within 10 s"):
        shard.tick(20.5)


def test_closing_says_goodbye_and_keeps_the_session(shard: Shard, dialled: list[_Connection]):
    """DISCONNECT does not change the session expiry, and the broker gets time to read everything."""
    shard.close(1.5)
    assert isinstance(dialled[0].sent[-1], mqtt5.DisconnectPacket)
    assert dialled[0].sent[-1].session_expiry_interval is None
    assert dialled[0].finished_within_s == 1.5
    assert dialled[0].closed
