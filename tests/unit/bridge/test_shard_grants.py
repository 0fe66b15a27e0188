"""What a broker grants, compared with what the bridge has asked for."""

from typing import Any

import mqtt5
import pytest

from bridge.shard import SESSION_EXPIRY_NEVER, Shard
from plumbing.mqtt import ConnectionLost

from .one_shard import SUBSCRIBED, Dialled, connect, new_shard


def _answered(dialled: list[Dialled], *packets: Any) -> Shard:
    """A shard that has read these packets at time 0."""
    shard = new_shard(0)
    shard.tick(0.0)
    shard.writable(0.0)
    dialled[-1].inbox += packets
    shard.readable(0.0)
    return shard


def test_qos_0_is_a_complaint_and_what_comes_is_forwarded(
    dialled: list[Dialled], caplog: pytest.LogCaptureFixture
):
    """It says what is lost and what to change; the next connection that grants QoS 1 ends it."""
    granted = mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode.GRANTED_QOS_AT_MOST_ONCE])
    shard = _answered(dialled, mqtt5.ConnAckPacket(), granted)
    assert shard.subscribed
    assert "10.0.0.0:1883) grants QoS 0: it loses messages while the bridge is away" in shard.complaint
    assert caplog.messages[-1] == shard.complaint
    shard.lose(1.0, ConnectionLost("gone"))
    connect(shard, dialled, now=10.0)
    assert shard.complaint == ""


def test_the_brokers_keep_alive_is_kept(dialled: list[Dialled]):
    """4 s instead of 30: a PINGREQ after 2 s, and silence of 6 s is the broker's end."""
    shard = _answered(dialled, mqtt5.ConnAckPacket(server_keep_alive=4), SUBSCRIBED[1])
    shard.tick(2.1)
    assert isinstance(dialled[0].sent[-1], mqtt5.PingReqPacket)
    with pytest.raises(ConnectionLost, match="silent for 6 s"):
        shard.tick(6.1)


@pytest.mark.parametrize("keep_alive", [None, 0, 600])
def test_a_longer_keep_alive_changes_nothing(dialled: list[Dialled], keep_alive: int | None):
    """A broker that tolerates more silence than was asked for still gets its PINGREQ after 15 s."""
    shard = _answered(dialled, mqtt5.ConnAckPacket(server_keep_alive=keep_alive), SUBSCRIBED[1])
    shard.tick(14.0)
    assert not isinstance(dialled[0].sent[-1], mqtt5.PingReqPacket)
    shard.tick(15.1)
    assert isinstance(dialled[0].sent[-1], mqtt5.PingReqPacket)


def test_another_broker_is_asked_for_the_own_keep_alive_again(dialled: list[Dialled]):
    """What one connection was granted is not asked for on the next."""
    shard = _answered(dialled, mqtt5.ConnAckPacket(server_keep_alive=4), SUBSCRIBED[1])
    shard.lose(1.0, ConnectionLost("gone"))
    connect(shard, dialled, now=10.0)
    assert dialled[1].sent[0].keep_alive == 30
    shard.tick(14.0)
    assert not isinstance(dialled[1].sent[-1], mqtt5.PingReqPacket)


@pytest.mark.parametrize(
    ("expiry_s", "warned"), [(None, False), (SESSION_EXPIRY_NEVER, False), (3_600, True)]
)
def test_a_shorter_session_is_warned_of(
    dialled: list[Dialled], caplog: pytest.LogCaptureFixture, expiry_s: int | None, warned: bool
):
    """The warning names the time after which a bridge that is away loses messages."""
    _answered(dialled, mqtt5.ConnAckPacket(session_expiry_interval=expiry_s), SUBSCRIBED[1])
    assert any("keeps the session for 3600 s" in message for message in caplog.messages) == warned


def test_retained_messages_come_with_a_new_subscription_only(shard: Shard, dialled: list[Dialled]):
    """Otherwise every connection would bring all of them again."""
    wanted = dialled[0].sent[1].topic_filters[0]
    assert wanted.retain_handling == mqtt5.RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS


def test_a_bridge_that_was_taken_over_waits(
    shard: Shard, dialled: list[Dialled], caplog: pytest.LogCaptureFixture
):
    """Two bridges of one name would take the session from each other many times a second: 2.5 to 5 s."""
    dialled[0].inbox.append(
        mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER, reason_str="twin")
    )
    with pytest.raises(ConnectionLost, match="SESSION_TAKEN_OVER twin") as lost:
        shard.readable(1.0)
    shard.lose(1.0, lost.value)
    assert "--ordinal of its own" in caplog.messages[-1]
    shard.tick(3.4)
    assert len(dialled) == 1
    shard.tick(6.1)
    assert len(dialled) == 2
