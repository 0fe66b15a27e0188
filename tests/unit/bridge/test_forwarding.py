"""From the bytes of a read to messages for Kafka: known cars and the router give the same result."""

import random
from typing import Any

import mqtt5
import numpy as np
import pytest

from bridge import forwarding
from bridge.forwarding import Forwarder
from bridge.routing import Router
from contract.errors import Malformed
from contract.records import single_object_header
from contract.schema import SCHEMAS, get
from contract.telemetry import encode, prefix
from contract.topics import REJECTED
from plumbing.mqtt import ConnectionLost

V1, V2 = get("telemetry", 1), get("telemetry", 2)
NOW_MS = 1_795_000_000_000


class _Producer:
    """Keeps (topic, value, key)."""

    def __init__(self) -> None:
        self.produced: list[tuple[str, bytes, bytes | None]] = []

    def produce(self, topic: str, value: bytes, key: Any = None, headers: Any = ()) -> None:
        self.produced.append((topic, value, key))


class _CountingRouter(Router):
    """A router that counts its calls."""

    calls = 0

    def route(self, topic: str, payload: bytes) -> tuple[str, bytes, bytes] | None:
        self.calls += 1
        return super().route(topic, payload)


@pytest.fixture
def producer() -> _Producer:
    return _Producer()


@pytest.fixture
def router() -> _CountingRouter:
    return _CountingRouter(SCHEMAS, payload_bytes_max=1_000, clock=lambda: NOW_MS / 1_000 + 3_600)


@pytest.fixture
def forwarder(router: Router, producer: Any) -> Forwarder:
    return Forwarder(router, producer)


def _payload(car: str, seq: int, schema: Any = V1, at_ms: int = NOW_MS) -> bytes:
    head = single_object_header(schema) + prefix(schema, car, "Zoé")
    signals = np.zeros((1, len(schema.names("float"))), np.float32)
    return encode([head], np.array([seq]), np.array([at_ms]), signals)[0]


def _packet(number: int, payload: bytes, topic: str = "fleet/v1/car-1/telemetry", **change: Any) -> bytes:
    fields: dict[str, Any] = {"qos": mqtt5.QoS.AT_LEAST_ONCE, "packet_id": number} | change
    return mqtt5.PublishPacket(topic, payload, **fields).write()


def _routed(stream: list[tuple[str, bytes]]) -> list[tuple[str, bytes, bytes | None]]:
    """What Kafka must get: (topic, value, key) of each message by a router of its own, one at a time."""
    expected: list[tuple[str, bytes, bytes | None]] = []
    router = Router(SCHEMAS, payload_bytes_max=1_000, clock=lambda: NOW_MS / 1_000 + 3_600)
    for topic, payload in stream:
        try:
            routed = router.route(topic, payload)
        except Malformed:
            expected.append((REJECTED, payload, None))
        else:
            expected += [] if routed is None else [(routed[0], routed[2], routed[1])]
    return expected


def test_telemetry_of_a_known_car_is_recognised_by_its_bytes(
    forwarder: Forwarder, router: _CountingRouter, producer: _Producer
):
    """The router is called once a car; what reaches Kafka is the same."""
    stream = [(f"fleet/v1/car-{n % 3}/telemetry", _payload(f"car-{n % 3}", n)) for n in range(60)]
    data = b"".join(_packet(n + 1, p, t) for n, (t, p) in enumerate(stream))
    read = forwarder.forward(data)
    assert producer.produced == _routed(stream)
    assert [int.from_bytes(i, "big") for i in read.packet_ids] == list(range(1, 61))
    assert (read.used_bytes, read.publishes, read.other_packets) == (len(data), 60, [])
    assert router.calls == 3


def test_an_unusual_publish_goes_to_the_router_every_time(forwarder: Forwarder, router: _CountingRouter):
    """Sent again (DUP), retained, with properties, QoS 0: not recognised by bytes, and not remembered."""
    forwarder.forward(_packet(1, _payload("car-1", 1)))
    for number, change in enumerate(
        ({"duplicate": True}, {"retain": True}, {"user_properties": [("a", "b")]},
         {"qos": mqtt5.QoS.AT_MOST_ONCE, "packet_id": None})
    ):  # fmt: skip
        for _ in range(2):
            assert forwarder.forward(_packet(2, _payload("car-1", 2), **change)).publishes == 1
        assert router.calls == 3 + 2 * number


def test_a_longer_seq_replaces_the_shorter_one(forwarder: Forwarder, router: _CountingRouter):
    """When seq takes a byte more, the entry for packets with a shorter one is dropped."""
    for seq in (1, 2, 64, 65, 8_192, 8_193, 2**30):
        forwarder.forward(_packet(1, _payload("car-1", seq)))
    assert router.calls == 4
    assert len(forwarder._known) == 2  # the last two sizes differ by more than one byte


def test_a_known_car_s_time_may_not_leap(forwarder: Forwarder, router: _CountingRouter, producer: _Producer):
    """A packet that differs only in its time: minutes later it is known, days later it is judged."""
    later_ms = {"minutes": 5 * 60_000, "a day": 86_400_000, "a year": 366 * 86_400_000}
    for at_ms in (0, *later_ms.values()):
        forwarder.forward(_packet(1, _payload("car-1", 1, at_ms=NOW_MS + at_ms)))
    assert router.calls == 1 + 2
    assert [topic for topic, *_ in producer.produced] == ["telemetry", "telemetry", REJECTED, REJECTED]


def test_invented_cars_do_not_fill_the_memory(forwarder: Forwarder, monkeypatch: pytest.MonkeyPatch):
    """The number of remembered cars is bounded."""
    monkeypatch.setattr(forwarding, "_KNOWN_MAX", 10)
    for number in range(100):
        car = f"c{number}"
        forwarder.forward(_packet(1, _payload(car, 1), f"fleet/v1/{car}/telemetry"))
    assert len(forwarder._known) <= 10


def test_only_good_telemetry_is_remembered(forwarder: Forwarder):
    """Nothing is remembered of a refused record, another kind of message, or a wrong topic."""
    good = _payload("car-1", 1)
    for topic, payload in (
        ("fleet/v1/car-1/command", good),
        ("fleet/v1/car-2/telemetry", good),
        ("fleet/v1/car-1/telemetry", good[:-60]),
        ("fleet/v2/car-1/telemetry", good),
    ):
        assert forwarder.forward(_packet(1, payload, topic)).publishes == 1
    assert not forwarder._known


def test_broken_messages_of_known_cars_are_judged_by_the_router(forwarder: Forwarder, producer: _Producer):
    """1 500 messages of known cars, every second one cut, lengthened, or with a byte changed."""
    rng = random.Random(1)
    stream = []
    for number in range(1_500):
        car = f"car-{rng.randrange(5)}"
        payload = bytearray(_payload(f"car-{rng.randrange(5)}" if number % 50 == 0 else car, number % 9_000,
                                     V2 if number % 7 == 0 else V1))  # fmt: skip
        if number % 2 and number > 20:
            damage = rng.randrange(3)
            if damage == 0:
                del payload[rng.randrange(len(payload)) :]
            elif damage == 1:
                payload += rng.randbytes(rng.choice([1, 2, 5, 1_000]))
            else:
                payload[rng.randrange(24)] = rng.randrange(256)
        stream.append((f"fleet/v1/{car}/telemetry", bytes(payload)))
    packets = [_packet(1 + n % 65_535, payload, topic) for n, (topic, payload) in enumerate(stream)]
    read = forwarder.forward(b"".join(packets))
    assert producer.produced == _routed(stream)
    assert read.publishes == len(read.packet_ids) == len(stream)


def test_known_and_routed_messages_stay_in_order(forwarder: Forwarder, producer: _Producer):
    """Packet ids and Kafka messages are in order of arrival; QoS 0 has no packet id."""
    good = [_payload("car-1", n) for n in range(4)]
    data = [
        _packet(9, good[0]),
        _packet(5, b"garbage"),
        _packet(7, good[1]),
        _packet(0, good[2], qos=mqtt5.QoS.AT_MOST_ONCE, packet_id=None),
        _packet(3, good[3], user_properties=[("a", "b")]),
    ]
    read = forwarder.forward(b"".join(data))
    assert [int.from_bytes(i, "big") for i in read.packet_ids] == [9, 5, 7, 3]
    assert read.publishes == 5
    assert [topic for topic, *_ in producer.produced] == ["telemetry", REJECTED, *["telemetry"] * 3]


def test_other_packets_are_returned(forwarder: Forwarder, producer: _Producer):
    """A PINGRESP between two messages is handed to the caller."""
    data = (
        _packet(1, _payload("car-1", 1)) + mqtt5.PingRespPacket().write() + _packet(2, _payload("car-1", 2))
    )
    read = forwarder.forward(data)
    assert [type(packet) for packet in read.other_packets] == [mqtt5.PingRespPacket]
    assert len(producer.produced) == read.publishes == 2


def test_a_packet_cut_anywhere_waits_for_its_end(forwarder: Forwarder, producer: _Producer):
    """The second message of a known car, cut at every byte, is neither forwarded nor counted as used."""
    first, second = _packet(1, _payload("car-1", 1)), _packet(2, _payload("car-1", 2))
    for size in range(len(second)):
        producer.produced.clear()
        assert forwarder.forward(first + second[:size]).used_bytes == len(first)
        assert len(producer.produced) == 1


def test_bytes_that_are_not_mqtt_end_the_connection(forwarder: Forwarder):
    """ConnectionLost: what follows such bytes cannot be trusted."""
    with pytest.raises(ConnectionLost, match="not MQTT"):
        forwarder.forward(_packet(1, _payload("car-1", 1)) + b"\xf7\x00" * 10)


def test_the_payload_limit_holds_for_known_cars(producer: Any):
    """A record of a known car that is longer than --payload-bytes-max is refused."""
    size = len(_payload("car-1", 1))
    forwarder = Forwarder(Router(SCHEMAS, payload_bytes_max=size), producer)
    forwarder.forward(_packet(1, _payload("car-1", 1)) + _packet(2, _payload("car-1", 2**30)))
    assert [topic for topic, *_ in producer.produced] == ["telemetry", REJECTED]
