"""A bridge on a thread of its own, between a broker and a producer that the test controls."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import mqtt5
import numpy as np
from confluent_kafka import KafkaError

from bridge.forwarding import Forwarder
from bridge.pipeline import Pipeline
from bridge.routing import Router
from bridge.settings import Settings
from contract.records import single_object_header
from contract.schema import SCHEMAS, get
from contract.telemetry import encode, prefix
from plumbing.health import Health
from plumbing.life import Stop, WorldDown
from plumbing.mqtt import parse

V1 = get("telemetry", 1)


def telemetry(seq: int) -> bytes:
    head = single_object_header(V1) + prefix(V1, "car-1")
    return encode([head], np.array([seq]), np.array([1_795_000_000_000]), np.zeros((1, 18), np.float32))[0]


def until(condition: Callable[[], bool], expected: str) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, expected
        time.sleep(0.002)


class Message:
    """The message in a delivery report of Kafka."""

    def __init__(self, topic: str, value: bytes, headers: dict[str, Any]) -> None:
        self._topic, self._value, self.headers = topic, value, headers

    def topic(self) -> str:
        return self._topic

    def value(self) -> bytes:
        return self._value


class HeldProducer:
    """Holds messages until the test settles them; poll and flush report failures, as in librdkafka."""

    def __init__(self) -> None:
        self.produced: list[Message] = []
        self.failures: list[Any] = []
        self._held: set[int] = set()
        self._failed: list[tuple[int, int]] = []
        self.full = False

    def produce(self, topic: str, value: bytes, key: Any = None, headers: Any = ()) -> None:
        if self.full:
            raise BufferError("Local: Queue full")
        self._held.add(len(self.produced))
        self.produced.append(Message(topic, value, dict(headers)))

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


class Broker:
    """A broker with one MQTT session, driven by the test."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(5)
        self.port = self._server.getsockname()[1]
        self.received: list[Any] = []

    def accept(self) -> None:
        self._peer = self._server.accept()[0]
        self._peer.settimeout(0.01)
        until(lambda: self.saw(mqtt5.ConnectPacket) == 1, "CONNECT")
        self._peer.send(mqtt5.ConnAckPacket().write())
        until(lambda: self.saw(mqtt5.SubscribePacket) == 1, "SUBSCRIBE")
        self._peer.send(mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode(1)]).write())

    def publish(self, payloads: dict[int, bytes], topic: str = "fleet/v1/car-1/telemetry") -> None:
        """Send payloads, by packet id, in one write."""
        qos = mqtt5.QoS.AT_LEAST_ONCE
        packets = [mqtt5.PublishPacket(topic, data, qos=qos, packet_id=i) for i, data in payloads.items()]
        self._peer.send(b"".join(packet.write() for packet in packets))

    def saw(self, kind: Any) -> int:
        with contextlib.suppress(
            TimeoutError, ConnectionResetError
        ):  # reset: the bridge closed with unread bytes
            self.received += parse(self._peer.recv(65_536))[0]
        return sum(isinstance(packet, kind) for packet in self.received)

    @property
    def acknowledged(self) -> list[int]:
        self.saw(mqtt5.PubAckPacket)
        return [packet.packet_id for packet in self.received if isinstance(packet, mqtt5.PubAckPacket)]

    def close(self) -> None:
        self._peer.close()
        self._server.close()


class Bridge:
    """A pipeline on a thread of its own, connected to a broker."""

    def __init__(self, deadline_s: float = 5.0) -> None:
        self.broker, self.producer = Broker(), HeldProducer()
        self.stop, self.health = Stop(deadline_s), Health()
        self.raised: list[Exception] = []
        settings = Settings(
            mqtt_brokers=(f"127.0.0.1:{self.broker.port}",),
            kafka_bootstrap="k:1",
            read_nap_ms=0.0,
            payload_bytes_max=1_000,
            in_flight_max=500,
        )
        router = Router(SCHEMAS, payload_bytes_max=settings.payload_bytes_max)
        producer: Any = self.producer
        self._pipeline = Pipeline(
            settings=settings,
            forwarder=Forwarder(router, producer),
            producer=producer,
            failures=self.producer.failures,
            health=self.health,
            stop=self.stop,
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.broker.accept()
        until(lambda: not self.health.not_ready_because, "ready")

    def _run(self) -> None:
        try:
            self._pipeline.run()
        except WorldDown as error:
            self.raised.append(error)

    def receive(self, *payloads: bytes | int) -> None:
        """Send messages in one write, with packet ids from 1; a number means telemetry with this seq."""
        before = len(self.producer.produced)
        messages = [telemetry(payload) if isinstance(payload, int) else payload for payload in payloads]
        self.broker.publish(dict(enumerate(messages, 1)))
        until(lambda: len(self.producer.produced) == before + len(payloads), "produced")

    def join(self) -> None:
        self._thread.join(5)
        assert not self._thread.is_alive()

    def close(self) -> None:
        self.stop._deadline = 0.0  # stop at once
        self.join()
        for open_shard in self._pipeline._shards:
            open_shard.close(0.0)  # a process that ends with WorldDown leaves them open
        self.broker.close()
