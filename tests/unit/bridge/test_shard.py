"""One broker shard, with a connection that the test controls."""

from pathlib import Path
from typing import Any

import mqtt5
import pytest

from bridge.shard import Shard
from plumbing.mqtt import ConnectionLost

from .one_shard import SUBSCRIBED, Dialled, connect, new_shard


def _publish(*packet_ids: int) -> list[mqtt5.PublishPacket]:
    qos = mqtt5.QoS.AT_LEAST_ONCE
    return [mqtt5.PublishPacket("fleet/v1/c/telemetry", b"x", qos=qos, packet_id=i) for i in packet_ids]


def _receive(shard: Shard, connection: Dialled, *packet_ids: int, now: float = 1.0) -> None:
    connection.inbox += _publish(*packet_ids)
    shard.readable(now)


def _acknowledged(connection: Dialled) -> list[int]:
    return [packet.packet_id for packet in connection.sent if isinstance(packet, mqtt5.PubAckPacket)]


def test_the_session_outlives_the_connection(shard: Shard, dialled: list[Dialled]):
    """CONNECT has the stable client id, no clean start, no session expiry, and a bound for packets."""
    connect, subscribe = dialled[0].sent
    assert (connect.client_id, connect.clean_start) == ("bridge-3", False)
    assert connect.session_expiry_interval == 0xFFFFFFFF
    assert connect.receive_max == 10
    assert connect.max_packet_size == 4 * 1_048_576
    assert [f.pattern for f in subscribe.topic_filters] == ["fleet/v1/#"]
    assert subscribe.topic_filters[0].max_qos == mqtt5.QoS.AT_LEAST_ONCE
    assert shard.subscribed


def test_user_and_password_are_in_the_handshake(dialled: list[Dialled], tmp_path: Path):
    """None of both where they are not set."""
    (tmp_path / "password").write_text("hush\n")
    connect(new_shard(3, mqtt_username="cars", mqtt_password_file=tmp_path / "password"), dialled, 0.0)
    assert (dialled[-1].sent[0].username, dialled[-1].sent[0].password) == ("cars", b"hush")
    connect(new_shard(3), dialled, 0.0)
    assert (dialled[-1].sent[0].username, dialled[-1].sent[0].password) == (None, None)


def test_a_shared_group_is_in_the_topic_filter(dialled: list[Dialled]):
    """With --shared-group the filter begins with $share and the group."""
    shard = new_shard(0, shared_group="edge")
    connect(shard, dialled, now=0.0)
    assert [f.pattern for f in dialled[0].sent[1].topic_filters] == ["$share/edge/fleet/v1/#"]


def test_pubacks_go_out_in_order_of_arrival_and_once(shard: Shard, dialled: list[Dialled]):
    """`acknowledge` covers everything read since the last call, in its order; the next call sends nothing."""
    for packet_ids in ((7, 3), (9,), (1, 4)):
        _receive(shard, dialled[0], *packet_ids)
    assert _acknowledged(dialled[0]) == []
    assert shard.in_flight == 5
    assert shard.acknowledge(1.0) == 5
    assert _acknowledged(dialled[0]) == [7, 3, 9, 1, 4]
    assert shard.in_flight == 0
    assert shard.acknowledge(1.0) == 0


def test_messages_without_a_packet_id_are_counted_and_not_acknowledged(shard: Shard, dialled: list[Dialled]):
    """QoS 0 messages are forwarded too; there is no PUBACK for them."""
    dialled[0].inbox += [mqtt5.PublishPacket("fleet/v1/c/telemetry", b"x"), *_publish(5)]
    shard.readable(1.0)
    assert shard.in_flight == 2
    assert shard.acknowledge(1.0) == 1
    assert _acknowledged(dialled[0]) == [5]


def test_a_lost_connection_forgets_its_acknowledgements(shard: Shard, dialled: list[Dialled]):
    """Packet ids are valid on one connection only: none of the old ones is acknowledged on the next."""
    _receive(shard, dialled[0], *range(1, 11))
    shard.lose(2.0, ConnectionLost("gone"))
    assert dialled[0].closed
    assert (shard.in_flight, shard.subscribed, shard.connection) == (0, False, None)
    connect(shard, dialled, now=10.0)
    assert shard.acknowledge(11.0) == 0
    _receive(shard, dialled[1], 1, now=11.0)
    shard.acknowledge(11.0)
    assert _acknowledged(dialled[1]) == [1]


def test_the_waits_before_dialling_again_grow(shard: Shard, dialled: list[Dialled]):
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
    shard: Shard, dialled: list[Dialled], caplog: pytest.LogCaptureFixture
):
    """Lost soon after each subscription: a second client of that name. Never connected: the address."""
    for now in (1.0, 10.0, 20.0):
        shard.lose(now, ConnectionLost("closed"))
        connect(shard, dialled, now=now + 6)
    assert ["called bridge-3" in message for message in caplog.messages] == [False, False, True]
    assert "--ordinal of its own" in caplog.messages[2]
    for now in (100.0, 101.0, 102.0):
        shard.lose(now, ConnectionLost("ECONNREFUSED"))
    assert ["--mqtt-brokers right" in message for message in caplog.messages[3:]] == [False, False, True]


def test_a_refused_connection_is_lost(dialled: list[Dialled], shard: Shard):
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
    shard: Shard, dialled: list[Dialled], packet: Any, reason: str
):
    """Not authorised, subscription refused, session taken over: ConnectionLost with the reason."""
    dialled[0].inbox.append(packet)
    with pytest.raises(ConnectionLost, match=reason):
        shard.readable(1.0)


def test_pings_keep_the_session_alive_also_while_paused(shard: Shard, dialled: list[Dialled]):
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


def test_a_broker_that_never_answers_the_connect_is_given_up(dialled: list[Dialled], shard: Shard):
    """CONNACK and SUBACK must arrive within 10 s."""
    shard.lose(1.0, ConnectionLost("gone"))
    shard.tick(10.0)
    shard.writable(10.0)
    shard.tick(19.0)
    with pytest.raises(ConnectionLost, match="no answer within 10 s"):
        shard.tick(20.5)


def test_closing_says_goodbye_and_keeps_the_session(shard: Shard, dialled: list[Dialled]):
    """DISCONNECT does not change the session expiry, and the broker gets time to read everything."""
    shard.close(1.5)
    assert isinstance(dialled[0].sent[-1], mqtt5.DisconnectPacket)
    assert dialled[0].sent[-1].session_expiry_interval is None
    assert dialled[0].finished_within_s == 1.5
    assert dialled[0].closed
