"""From the bytes of a read to messages for Kafka: the quick way and the whole one agree."""

import random
from typing import Any

import mqtt5
import numpy as np
import pytest

from bridge import forwarding
from bridge.forwarding import Forwarder
from bridge.routing import Router
from contract.errors import Malformed
from contract.framing import single_object_header
from contract.schema import get, schemas
from contract.telemetry import SIGNALS, encode, prefix
from contract.topics import REJECTED
from plumbing.mqtt import ConnectionLost

K = len(SIGNALS)

V1, V2 = get("telemetry", 1), get("telemetry", 2)


class _Producer:
    """Keeps (topic, value, key)."""

    def __init__(self) -> None:
        self.produced: list[tuple[str, bytes, bytes | None]] = []

    def produce(self, topic: str, value: bytes, key: Any = None, headers: Any = ()) -> None:
        self.produced.append((topic, value, key))


class _Counting(Router):
    """A router that says how often it was asked."""

    asked = 0

    def route(self, topic: str, payload: bytes) -> tuple[str, bytes, bytes] | None:
        self.asked += 1
        return super().route(topic, payload)


@pytest.fixture
def producer() -> _Producer:
    return _Producer()


@pytest.fixture
def router() -> _Counting:
    return _Counting(schemas(), payload_bytes_max=1_000)


@pytest.fixture
def forwarder(router: Router, producer: Any) -> Forwarder:
    return Forwarder(router, producer)


def _payload(car: str, seq: int, schema: Any = V1) -> bytes:
    head = single_object_header(schema) + prefix(schema, car, "Zoé")
    return encode([head], np.array([seq]), np.array([1_795_000_000_000]), np.zeros((1, K), np.float32))[0]


def _packet(number: int, payload: bytes, topic: str = "fleet/v1/car-1/telemetry", **more: Any) -> bytes:
    told: dict[str, Any] = {"qos": mqtt5.QoS.AT_LEAST_ONCE, "packet_id": number} | more
    return mqtt5.PublishPacket(topic, payload, **told).write()


def _by_the_router(stream: list[tuple[str, bytes]]) -> list[tuple[str, bytes, bytes | None]]:
    """What must be in Kafka, one message at a time, with nothing remembered."""
    expected: list[tuple[str, bytes, bytes | None]] = []
    router = Router(schemas(), payload_bytes_max=1_000)
    for topic, payload in stream:
        try:
            routed = router.route(topic, payload)
        except Malformed:
            expected.append((REJECTED, payload, None))
        else:
            expected += [] if routed is None else [(routed[0], routed[2], routed[1])]
    return expected


def test_telemetry_of_a_known_car_takes_the_quick_way(
    forwarder: Forwarder, router: _Counting, producer: _Producer
):
    """The router is asked once a car; what reaches Kafka is the same."""
    stream = [(f"fleet/v1/car-{n % 3}/telemetry", _payload(f"car-{n % 3}", n)) for n in range(60)]
    data = b"".join(_packet(n + 1, p, t) for n, (t, p) in enumerate(stream))
    taken = forwarder.take(data)
    assert producer.produced == _by_the_router(stream)
    assert [int.from_bytes(i, "big") for i in taken.packet_ids] == list(range(1, 61))
    assert (taken.used, taken.count, taken.others) == (len(data), 60, [])
    assert router.asked == 3


def test_whatever_is_not_of_the_usual_kind_is_asked_for_each_time(forwarder: Forwarder, router: _Counting):
    """Sent again (DUP), retained, with properties, at QoS 0: none of it is taken for what it resembles."""
    forwarder.take(_packet(1, _payload("car-1", 1)))
    for number, more in enumerate(
        ({"duplicate": True}, {"retain": True}, {"user_properties": [("a", "b")]},
         {"qos": mqtt5.QoS.AT_MOST_ONCE, "packet_id": None})
    ):  # fmt: skip
        for _ in range(2):
            assert forwarder.take(_packet(2, _payload("car-1", 2), **more)).count == 1
        assert router.asked == 3 + 2 * number


def test_a_longer_seq_takes_the_place_of_the_shorter_one(forwarder: Forwarder, router: _Counting):
    """A car is remembered once, also with a seq of more bytes, and of a schema's other version."""
    for seq in (1, 2, 64, 65, 8_192, 8_193, 2**30):
        forwarder.take(_packet(1, _payload("car-1", seq)))
    assert router.asked == 4
    assert len(forwarder._known) == 2  # the last two are not a byte apart


def test_invented_cars_do_not_fill_the_memory(forwarder: Forwarder, monkeypatch: pytest.MonkeyPatch):
    """What is remembered of cars is bounded."""
    monkeypatch.setattr(forwarding, "_KNOWN_MAX", 10)
    for number in range(100):
        car = f"c{number}"
        forwarder.take(_packet(1, _payload(car, 1), f"fleet/v1/{car}/telemetry"))
    assert len(forwarder._known) <= 10


def test_only_good_telemetry_is_remembered(forwarder: Forwarder):
    """Nothing of what was refused, of other kinds, or of topics that lead nowhere."""
    good = _payload("car-1", 1)
    for topic, payload in (
        ("fleet/v1/car-1/command", good),
        ("fleet/v1/car-2/telemetry", good),
        ("fleet/v1/car-1/telemetry", good[:-60]),
        ("fleet/v2/car-1/telemetry", good),
    ):
        assert forwarder.take(_packet(1, payload, topic)).count == 1
    assert not forwarder._known


def test_both_ways_agree_on_broken_messages(forwarder: Forwarder, producer: _Producer):
    """1 500 messages of known cars, every second one damaged: cut, lengthened, or with bytes changed."""
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
    taken = forwarder.take(b"".join(packets))
    assert producer.produced == _by_the_router(stream)
    assert taken.count == len(taken.packet_ids) == len(stream)


def test_order_is_kept_between_the_two_ways(forwarder: Forwarder, producer: _Producer):
    """Packet ids and messages stand as they came, whichever way each took; QoS 0 has no id."""
    good = [_payload("car-1", n) for n in range(4)]
    data = [
        _packet(9, good[0]),
        _packet(5, b"garbage"),
        _packet(7, good[1]),
        _packet(0, good[2], qos=mqtt5.QoS.AT_MOST_ONCE, packet_id=None),
        _packet(3, good[3], user_properties=[("a", "b")]),
    ]
    taken = forwarder.take(b"".join(data))
    assert [int.from_bytes(i, "big") for i in taken.packet_ids] == [9, 5, 7, 3]
    assert taken.count == 5
    assert [topic for topic, *_ in producer.produced] == ["telemetry", REJECTED, *["telemetry"] * 3]


def test_other_packets_are_given_back(forwarder: Forwarder, producer: _Producer):
    """Between messages, too."""
    data = (
        _packet(1, _payload("car-1", 1)) + mqtt5.PingRespPacket().write() + _packet(2, _payload("car-1", 2))
    )
    taken = forwarder.take(data)
    assert [type(packet) for packet in taken.others] == [mqtt5.PingRespPacket]
    assert len(producer.produced) == taken.count == 2


def test_a_packet_cut_anywhere_waits_for_its_end(forwarder: Forwarder, producer: _Producer):
    """The second message of a known car, cut at every byte: not forwarded, not used up."""
    first, second = _packet(1, _payload("car-1", 1)), _packet(2, _payload("car-1", 2))
    for size in range(len(second)):
        producer.produced.clear()
        assert forwarder.take(first + second[:size]).used == len(first)
        assert len(producer.produced) == 1


def test_bytes_that_are_no_mqtt_end_the_connection(forwarder: Forwarder):
    """What follows them cannot be trusted."""
    with pytest.raises(ConnectionLost, match="not MQTT"):
        forwarder.take(_packet(1, _payload("car-1", 1)) + b"\xf7\x00" * 10)


def test_a_small_limit_holds_on_the_quick_way(producer: Any):
    """--payload-bytes-max below what a record may have: the second one is as refused as the first."""
    size = len(_payload("car-1", 1))
    forwarder = Forwarder(Router(schemas(), payload_bytes_max=size), producer)
    forwarder.take(_packet(1, _payload("car-1", 1)) + _packet(2, _payload("car-1", 2**30)))
    assert [topic for topic, *_ in producer.produced] == ["telemetry", REJECTED]
