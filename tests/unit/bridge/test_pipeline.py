"""The bridge's loop between a broker and a Kafka that do what the test says."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import mqtt5
import numpy as np
import pytest
from confluent_kafka import KafkaError

from bridge import pipeline, shard
from bridge.forwarding import Forwarder
from bridge.pipeline import Pipeline
from bridge.routing import Router
from bridge.settings import Settings
from contract.framing import single_object_header
from contract.schema import get, schemas
from contract.telemetry import encode, prefix
from contract.topics import REJECTED, TELEMETRY
from plumbing.health import Health
from plumbing.life import Stop, WorldDown
from plumbing.mqtt import parse

V1 = get("telemetry", 1)


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


class _Message:
    """What Kafka's delivery report says of a message."""

    def __init__(self, topic: str, value: bytes, headers: dict[str, Any]) -> None:
        self._topic, self._value, self.headers = topic, value, headers

    def topic(self) -> str:
        return self._topic

    def value(self) -> bytes:
        return self._value


class _Producer:
    """Keeps what is produced until the test settles it; reports failures when it is asked, as librdkafka."""

    def __init__(self) -> None:
        self.produced: list[_Message] = []
        self.failures: list[Any] = []
        self._held: set[int] = set()
        self._failed: list[tuple[int, int]] = []
        self.full = False

    def produce(self, topic: str, value: bytes, key: Any = None, headers: Any = ()) -> None:
        if self.full:
            raise BufferError("Local: Queue full")
        self._held.add(len(self.produced))
        self.produced.append(_Message(topic, value, dict(headers)))

    def __len__(self) -> int:
        return len(self._held)

    def flush(self, timeout: float) -> int:
        if self._held:
            time.sleep(0.001)
        self.poll(0.0)
        return len(self._held)

    def poll(self, timeout: float) -> int:
        while self._failed:
            index, code = self._failed.pop(0)
            self.failures.append((KafkaError(code), self.produced[index]))
            self._held.discard(index)
        return 0

    def settle(self, index: int, code: int | None = None) -> None:
        if code is None:
            self._held.discard(index)
        else:
            self._failed.append((index, code))


class _Broker:
    """One MQTT session, by hand."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(5)
        self.port = self._server.getsockname()[1]
        self.heard: list[Any] = []

    def accept(self) -> None:
        self._peer = self._server.accept()[0]
        self._peer.settimeout(0.01)
        _until(lambda: self.saw(mqtt5.ConnectPacket) == 1, "CONNECT")
        self._peer.send(mqtt5.ConnAckPacket().write())
        _until(lambda: self.saw(mqtt5.SubscribePacket) == 1, "SUBSCRIBE")
        self._peer.send(mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode(1)]).write())

    def publish(self, payloads: dict[int, bytes], topic: str = "fleet/v1/car-1/telemetry") -> None:
        """Payloads by packet id, at once."""
        qos = mqtt5.QoS.AT_LEAST_ONCE
        packets = [mqtt5.PublishPacket(topic, data, qos=qos, packet_id=i) for i, data in payloads.items()]
        self._peer.send(b"".join(packet.write() for packet in packets))

    def saw(self, kind: Any) -> int:
        with contextlib.suppress(TimeoutError, ConnectionResetError):  # reset: it left something unread
            self.heard += parse(self._peer.recv(65_536))[0]
        return sum(isinstance(packet, kind) for packet in self.heard)

    @property
    def acknowledged(self) -> list[int]:
        self.saw(mqtt5.PubAckPacket)
        return [packet.packet_id for packet in self.heard if isinstance(packet, mqtt5.PubAckPacket)]

    def close(self) -> None:
        self._peer.close()
        self._server.close()


class _Bridge:
    """A pipeline on a thread of its own, connected to a broker."""

    def __init__(self, deadline_s: float = 5.0) -> None:
        self.broker, self.producer = _Broker(), _Producer()
        self.stop, self.health = Stop(deadline_s), Health()
        self.raised: list[Exception] = []
        told = Settings(
            (f"127.0.0.1:{self.broker.port}",),
            "k:1",
            read_nap_ms=0.0,
            payload_bytes_max=1_000,
            in_flight_max=500,
        )
        router = Router(schemas(), payload_bytes_max=told.payload_bytes_max)
        producer: Any = self.producer
        self._pipeline = Pipeline(
            told,
            Forwarder(router, producer),
            producer,
            failures=self.producer.failures,
            health=self.health,
            stop=self.stop,
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.broker.accept()
        _until(lambda: not self.health.not_ready_because, "ready")

    def _run(self) -> None:
        try:
            self._pipeline.run()
        except WorldDown as error:
            self.raised.append(error)

    def receive(self, *payloads: bytes | int) -> None:
        """Messages in one read, ids from 1 on; a number is telemetry with this seq."""
        before = len(self.producer.produced)
        sound = [_telemetry(payload) if isinstance(payload, int) else payload for payload in payloads]
        self.broker.publish(dict(enumerate(sound, 1)))
        _until(lambda: len(self.producer.produced) == before + len(payloads), "produced")

    def join(self) -> None:
        self._thread.join(5)
        assert not self._thread.is_alive()

    def close(self) -> None:
        self.stop._deadline = 0.0  # at once
        self.join()
        for left in self._pipeline._shards:
            left.close(0.0)  # left open by a process that ends because the world is down
        self.broker.close()


@pytest.fixture(autouse=True)
def _no_idling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_IDLE_WAIT_S", 0.005)
    monkeypatch.setattr(shard, "_BACKOFF_S_MIN", 0.01)


@pytest.fixture
def bridge() -> Iterator[_Bridge]:
    bridge = _Bridge()
    yield bridge
    bridge.close()


def _telemetry(seq: int) -> bytes:
    head = single_object_header(V1) + prefix(V1, "car-1")
    return encode([head], np.array([seq]), np.array([1_795_000_000_000]), np.zeros((1, 18), np.float32))[0]


def test_acknowledged_only_when_kafka_has_all_and_in_order(bridge: _Bridge):
    """The second delivered first: no PUBACK, and nothing more is read; then the first: both, in order."""
    bridge.receive(1, 2)
    bridge.producer.settle(1)
    bridge.broker.publish({3: _telemetry(3)})
    time.sleep(0.05)
    assert bridge.broker.acknowledged == []
    assert len(bridge.producer.produced) == 2
    bridge.producer.settle(0)
    _until(lambda: bridge.broker.acknowledged == [1, 2], "PUBACKs")
    _until(lambda: len(bridge.producer.produced) == 3, "the next round")


def test_a_bad_message_is_a_dead_letter_and_the_next_goes_on(bridge: _Bridge):
    """It carries the payload, the reason, the detail and the MQTT topic, acknowledged once delivered."""
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
    _until(lambda: bridge.broker.acknowledged == [1, 2], "PUBACKs")


def test_an_oversized_message_is_cut_for_the_dead_letter(bridge: _Bridge):
    """Over Kafka's own limit it could not even be reported, and would come back for ever."""
    bridge.receive(bytes(2_000_000))
    dead = bridge.producer.produced[0]
    assert len(dead.value()) == 65_536
    assert dead.headers["reason"] == "oversized"
    assert "2000000 bytes" in dead.headers["detail"]


@pytest.mark.parametrize("asked", ["flush", "poll"])
def test_a_message_that_kafka_refuses_is_a_dead_letter(bridge: _Bridge, asked: str):
    """Too large for the topic, for instance: acknowledged once the dead letter is delivered, not before,

    whichever call the report comes with.
    """
    if asked == "poll":
        bridge.producer.flush = lambda timeout: time.sleep(0.001) or 1  # type: ignore[method-assign]
    bridge.receive(1)
    bridge.producer.settle(0, KafkaError.MSG_SIZE_TOO_LARGE)
    _until(lambda: len(bridge.producer.produced) == 2, "dead letter")
    dead = bridge.producer.produced[1]
    assert (dead.topic(), dead.headers["reason"]) == (REJECTED, "refused_by_kafka")
    assert bridge.broker.acknowledged == []
    bridge.producer.settle(1)
    _until(lambda: bridge.broker.acknowledged == [1], "PUBACK")


def test_kafka_silent_for_too_long_ends_the_process(bridge: _Bridge):
    """The world is down: nothing is acknowledged, the restarted bridge gets the messages again."""
    bridge.receive(1)
    bridge.producer.settle(0, KafkaError._MSG_TIMED_OUT)
    bridge.join()
    assert "Kafka did not take a message for telemetry" in str(bridge.raised[0])
    assert bridge.broker.acknowledged == []


def test_a_dead_letter_that_kafka_refuses_ends_the_process(bridge: _Bridge):
    """There is no place left to put the message, so it is not acknowledged."""
    bridge.receive(b"garbage")
    bridge.producer.settle(0, KafkaError.MSG_SIZE_TOO_LARGE)
    bridge.join()
    assert REJECTED in str(bridge.raised[0])
    assert bridge.broker.acknowledged == []


def test_a_full_queue_ends_the_process(bridge: _Bridge):
    """Brokers that come and go while Kafka is down cannot fill the memory."""
    bridge.producer.full = True
    bridge.broker.publish({1: _telemetry(1)})
    bridge.join()
    assert "Kafka takes nothing" in str(bridge.raised[0])


def test_a_window_that_never_drains_says_what_to_look_at(
    bridge: _Bridge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Once, with how much waits, where for, and what happens next."""
    monkeypatch.setattr(pipeline, "_COMPLAIN_AFTER_S", 0.01)
    bridge.receive(1, 2)
    _until(lambda: bool(caplog.messages), "a warning")
    time.sleep(0.05)
    (message,) = caplog.messages
    for said in ("2 messages", "--kafka-bootstrap", "max_queued_messages", "--delivery-timeout-s 120"):
        assert said in message


def test_the_socket_is_not_read_beyond_the_limit(bridge: _Bridge):
    """A broker that sends whatever we asked for: reading stops near 500 in flight until Kafka has them."""
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
    _until(lambda: len(bridge.producer.produced) > produced, "reading again")


def test_commands_are_acknowledged_and_not_forwarded(bridge: _Bridge):
    """They are not ours; leaving them unacknowledged would fill the session."""
    bridge.broker.publish({1: b"open"}, "fleet/v1/car-1/command")
    _until(lambda: bridge.broker.acknowledged == [1], "PUBACK")
    assert bridge.producer.produced == []


def test_the_end_waits_for_kafka_and_reads_no_more(bridge: _Bridge):
    """SIGTERM: unready, no new message is taken, those in flight are acknowledged, then goodbye."""
    bridge.receive(1)
    bridge.stop.request()
    _until(lambda: bridge.health.not_ready_because == "stopping", "unready")
    bridge.broker.publish({2: _telemetry(2)})
    time.sleep(0.05)
    assert bridge.health.not_ready_because == "stopping"
    bridge.producer.settle(0)
    _until(lambda: bridge.broker.saw(mqtt5.DisconnectPacket) == 1, "DISCONNECT")
    bridge.broker.close()
    bridge.join()
    assert bridge.broker.heard[-2].packet_id == 1  # the PUBACK, before the DISCONNECT
    assert len(bridge.producer.produced) == 1


def test_the_end_does_not_wait_for_ever():
    """At the deadline it ends, with what Kafka did not take unacknowledged."""
    bridge = _Bridge(deadline_s=0.1)
    bridge.receive(1)
    bridge.stop.request()
    bridge.join()
    assert bridge.broker.acknowledged == []
    bridge.close()


def test_a_broker_lost_while_kafka_is_waited_for_is_noticed(bridge: _Bridge):
    """Nothing is read then, and still: unready, dialled again, nothing acknowledged on the new connection."""
    bridge.receive(1)
    time.sleep(0.02)
    bridge.broker._peer.close()
    _until(lambda: bridge.health.not_ready_because == "1 broker shards are not connected", "unready")
    bridge.broker.heard.clear()
    bridge.broker.accept()
    _until(lambda: not bridge.health.not_ready_because, "ready again")
    bridge.producer.settle(0)
    time.sleep(0.02)
    assert bridge.broker.acknowledged == []


def test_unready_while_a_shard_is_away(bridge: _Bridge):
    """A lost broker makes the bridge unready, and it dials again by itself."""
    bridge.broker._peer.close()
    _until(lambda: bridge.health.not_ready_because == "1 broker shards are not connected", "unready")
    bridge.broker.heard.clear()
    bridge.broker.accept()
    _until(lambda: not bridge.health.not_ready_because, "ready again")
