"""The bridge's loop between a broker and a producer that the test controls."""

import contextlib
import time
from collections.abc import Iterator

import mqtt5
import pytest
from confluent_kafka import KafkaError, KafkaException

from bridge import pipeline, shard
from contract.topics import REJECTED, TELEMETRY

from .scene import Bridge, telemetry, until


@pytest.fixture(autouse=True)
def _no_idling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_IDLE_WAIT_S", 0.005)
    monkeypatch.setattr(shard, "_BACKOFF_S_MIN", 0.01)


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    bridge = Bridge()
    yield bridge
    bridge.close()


def test_acknowledged_only_when_kafka_has_all_and_in_order(bridge: Bridge):
    """While Kafka has only the second of two: no PUBACK, and nothing is read. Then both, in order."""
    bridge.receive(1, 2)
    bridge.producer.settle(1)
    bridge.broker.publish({3: telemetry(3)})
    time.sleep(0.05)
    assert bridge.broker.acknowledged == []
    assert len(bridge.producer.produced) == 2
    bridge.producer.settle(0)
    until(lambda: bridge.broker.acknowledged == [1, 2], "PUBACKs")
    until(lambda: len(bridge.producer.produced) == 3, "the next round")


def test_a_bad_message_is_a_dead_letter_and_the_next_goes_on(bridge: Bridge):
    """It carries payload, reason, detail and MQTT topic, and is acknowledged once delivered."""
    bridge.receive(b"garbage", 2)
    dead, good = bridge.producer.produced
    assert (dead.topic(), dead.value()) == (REJECTED, b"garbage")
    assert dead.headers["reason"] == "bad_frame"
    assert "7 bytes" in dead.headers["detail"]
    assert dead.headers["mqtt_topic"] == b"fleet/v1/car-1/telemetry"
    assert good.topic() == TELEMETRY
    bridge.producer.settle(1)
    assert bridge.broker.acknowledged == []
    bridge.producer.settle(0)
    until(lambda: bridge.broker.acknowledged == [1, 2], "PUBACKs")


def test_an_oversized_message_is_cut_for_the_dead_letter(bridge: Bridge):
    """Kafka would refuse a dead letter above its own limit, and the message would return for ever."""
    bridge.receive(bytes(2_000_000))
    dead = bridge.producer.produced[0]
    assert len(dead.value()) == 65_536
    assert dead.headers["reason"] == "oversized"
    assert "2000000 bytes" in dead.headers["detail"]


@pytest.mark.parametrize("asked", ["flush", "poll"])
def test_a_message_that_kafka_refuses_is_a_dead_letter(bridge: Bridge, asked: str):
    """A message too large for the topic is acknowledged only after its dead letter is delivered.

    The failure may be reported from `flush` or from `poll`.
    """
    if asked == "poll":
        bridge.producer.flush = lambda timeout: time.sleep(0.001) or 1  # type: ignore[method-assign]
    bridge.receive(1)
    bridge.producer.settle(0, KafkaError.MSG_SIZE_TOO_LARGE)
    until(lambda: len(bridge.producer.produced) == 2, "dead letter")
    dead = bridge.producer.produced[1]
    assert (dead.topic(), dead.headers["reason"]) == (REJECTED, "refused_by_kafka")
    assert bridge.broker.acknowledged == []
    bridge.producer.settle(1)
    until(lambda: bridge.broker.acknowledged == [1], "PUBACK")


def test_kafka_silent_for_too_long_ends_the_process(bridge: Bridge):
    """WorldDown without a PUBACK: the restarted bridge gets the messages again."""
    bridge.receive(1)
    bridge.producer.settle(0, KafkaError._MSG_TIMED_OUT)
    bridge.join()
    assert "Kafka did not take a message for telemetry" in str(bridge.raised[0])
    assert bridge.broker.acknowledged == []


def test_a_dead_letter_that_kafka_refuses_ends_the_process(bridge: Bridge):
    """WorldDown without a PUBACK: the message could not be stored anywhere."""
    bridge.receive(b"garbage")
    bridge.producer.settle(0, KafkaError.MSG_SIZE_TOO_LARGE)
    bridge.join()
    assert REJECTED in str(bridge.raised[0])
    assert bridge.broker.acknowledged == []


def test_a_client_that_is_done_for_ends_the_process(bridge: Bridge):
    """A user without rights, for one: the producer raises; that is the world's fault and no bug's."""

    def refused(timeout: float) -> int:
        raise KafkaException(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED, "no rights", fatal=True))

    bridge.producer.flush = refused  # type: ignore[method-assign]
    bridge.receive(1)
    bridge.join()
    assert "no rights" in str(bridge.raised[0])
    assert bridge.broker.acknowledged == []


def test_a_full_queue_ends_the_process(bridge: Bridge):
    """WorldDown: brokers that reconnect while Kafka is down cannot fill the memory."""
    bridge.producer.full = True
    bridge.broker.publish({1: telemetry(1)})
    bridge.join()
    assert "queue is full" in str(bridge.raised[0])


def test_a_round_that_kafka_does_not_take_is_warned_of_once(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """The warning has the number of messages, what to check, and what will happen."""
    monkeypatch.setattr(pipeline, "_WARN_AFTER_S", 0.01)
    bridge.receive(1, 2)
    until(lambda: bool(caplog.messages), "a warning")
    time.sleep(0.05)
    (message,) = caplog.messages
    for part in ("2 messages", "--kafka-bootstrap", "max_queued_messages", "--delivery-timeout-s 120"):
        assert part in message


def test_readyz_says_that_kafka_stands_still(bridge: Bridge, monkeypatch: pytest.MonkeyPatch):
    """Unready with the number of messages and what to check, until Kafka has taken them."""
    monkeypatch.setattr(pipeline, "_WARN_AFTER_S", 0.01)
    bridge.receive(1, 2)
    until(lambda: bool(bridge.health.not_ready_because), "unready")
    assert "Kafka has not taken 2 messages for 0 s" in bridge.health.not_ready_because
    assert "--kafka-bootstrap" in bridge.health.not_ready_because
    bridge.producer.settle(0)
    bridge.producer.settle(1)
    until(lambda: not bridge.health.not_ready_because, "ready again")


def test_the_socket_is_not_read_beyond_the_limit(bridge: Bridge):
    """A broker that ignores our receive maximum: reading stops near 500 in flight until Kafka has them."""
    packets = [
        mqtt5.PublishPacket("fleet/v1/c/telemetry", bytes(1_000), qos=mqtt5.QoS(1), packet_id=i).write()
        for i in range(1, 20_001)
    ]
    sent, data = 0, b"".join(packets)  # 20 MB, more than the sockets hold
    bridge.broker._peer.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        while sent < len(data):
            sent += bridge.broker._peer.send(data[sent : sent + 65_536])
    assert sent < len(data)
    produced = len(bridge.producer.produced)
    assert produced <= 500 + 262_144 / 1_000  # the read that reached the limit
    for index in range(produced):
        bridge.producer.settle(index)
    until(lambda: len(bridge.producer.produced) > produced, "reading again")


def test_commands_are_acknowledged_and_not_forwarded(bridge: Bridge):
    """Commands are for cars; left unacknowledged, they would fill the broker's session."""
    bridge.broker.publish({1: b"open"}, "fleet/v1/car-1/command")
    until(lambda: bridge.broker.acknowledged == [1], "PUBACK")
    assert bridge.producer.produced == []


def test_the_end_waits_for_kafka_and_reads_no_more(bridge: Bridge):
    """After SIGTERM: unready, nothing new is read, messages in flight are acknowledged, then DISCONNECT."""
    bridge.receive(1)
    bridge.stop.request()
    until(lambda: bridge.health.not_ready_because == "stopping", "unready")
    bridge.broker.publish({2: telemetry(2)})
    time.sleep(0.05)
    assert bridge.health.not_ready_because == "stopping"
    bridge.producer.settle(0)
    until(lambda: bridge.broker.saw(mqtt5.DisconnectPacket) == 1, "DISCONNECT")
    bridge.broker.close()
    bridge.join()
    assert bridge.broker.received[-2].packet_id == 1  # the PUBACK, before the DISCONNECT
    assert len(bridge.producer.produced) == 1


def test_the_end_waits_no_longer_than_the_deadline():
    """What Kafka has not taken by then stays unacknowledged."""
    bridge = Bridge(deadline_s=0.1)
    bridge.receive(1)
    bridge.stop.request()
    bridge.join()
    assert bridge.broker.acknowledged == []
    bridge.close()


def test_a_broker_lost_while_kafka_is_waited_for_is_noticed(bridge: Bridge):
    """Although nothing is read: unready, dialled again, and no PUBACK on the new connection."""
    bridge.receive(1)
    time.sleep(0.02)
    bridge.broker._peer.close()
    until(lambda: bridge.health.not_ready_because == "1 broker shards are not connected", "unready")
    bridge.broker.received.clear()
    bridge.broker.accept()
    until(lambda: not bridge.health.not_ready_because, "ready again")
    bridge.producer.settle(0)
    time.sleep(0.02)
    assert bridge.broker.acknowledged == []


def test_unready_while_a_shard_is_away(bridge: Bridge):
    """A lost broker makes the bridge unready until it has connected again."""
    bridge.broker._peer.close()
    until(lambda: bridge.health.not_ready_because == "1 broker shards are not connected", "unready")
    bridge.broker.received.clear()
    bridge.broker.accept()
    until(lambda: not bridge.health.not_ready_because, "ready again")
