"""MQTT to Kafka with real brokers: every message, where it belongs, as it was."""

import io
from typing import Any

import fastavro
import pytest

from contract import records
from contract.records import single_object_header
from contract.schema import get, latest
from contract.topics import MAINTENANCE, REJECTED, mqtt_topic

pytestmark = pytest.mark.integration


def _java_partition(key: bytes, partitions: int) -> int:
    """Where Java's default partitioner puts a key: murmur2 (Kafka's Utils.murmur2), without its sign."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(key)
    for i in range(0, len(key) // 4 * 4, 4):
        k = int.from_bytes(key[i : i + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if rest := key[len(key) // 4 * 4 :]:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return ((h ^ h >> 15) & 0x7FFFFFFF) % partitions


def test_every_message_arrives_with_its_key_partition_and_value(world: Any):
    """Key: the car; partition: Java's for that key; value: Kafka's frame and the body that was published."""
    broker = world.broker()
    world.bridge(broker).wait_ready()
    publisher = world.publisher(broker)
    sent = [
        world.fleet.telemetry(car, seq, version)
        for seq in range(1, 21)
        for car in range(30)
        for version in (1, 2)
    ]
    publisher.send(sent)
    publisher.wait()
    world.until(lambda: len(world.log.read()) >= len(sent), "all messages in Kafka")
    found = world.log.read()
    assert len(found) == len(sent)
    expected = sorted((topic, payload[10:]) for topic, payload in sent)
    assert sorted((mqtt_topic(m.key().decode(), m.topic()), m.value()[5:]) for m in found) == expected
    for message in found:
        assert message.partition() == _java_partition(message.key(), 12)
        schema = {b"\0\0\0\0\1": get("telemetry", 1), b"\0\0\0\0\2": get("telemetry", 2)}[message.value()[:5]]
        record: Any = fastavro.schemaless_reader(io.BytesIO(message.value()[5:]), schema.parsed, None)
        assert record["car_id"] == message.key().decode()
        assert record["speed"] == record["seq"]


def test_retained_messages_arrive_once(world: Any):
    """A broker that keeps them sends them to a new session, and not again to each bridge that comes back."""
    broker = world.broker()
    bridge = world.bridge(broker).wait_ready()
    publisher = world.publisher(broker)
    publisher.send(world.fleet.ticks(20, [1]), retain=True)
    publisher.wait()
    world.until(lambda: len(world.log.read()) == 20, "the retained messages in Kafka")
    assert bridge.terminate() == 0
    world.bridge(broker).wait_ready()
    publisher.send(world.fleet.ticks(1, [2]))
    world.until(lambda: world.log.seqs()[world.fleet.car(0)][-1] == 2, "a later message in Kafka")
    assert len(world.log.read()) == 21


def test_the_order_of_a_car_is_kept(world: Any):
    """Four publishers with ten cars each: every car's seq is gapless in Kafka."""
    broker = world.broker()
    clients = [world.publisher(broker) for _ in range(4)]
    bridge = world.bridge(broker).wait_ready()
    for seq in range(1, 101):
        for number, client in enumerate(clients):
            client.send(world.fleet.telemetry(10 * number + car, seq) for car in range(10))
    for client in clients:
        client.wait()
    world.until(lambda: world.log.distinct() >= 4_000, "all messages in Kafka")
    assert world.log.seqs() == {world.fleet.car(car): list(range(1, 101)) for car in range(40)}
    world.until(lambda: bridge.metric("bridge_acknowledged_messages_total") == 4_000, "all acknowledged")
    assert bridge.metric("bridge_received_messages_total") == 4_000
    assert bridge.metric("bridge_forwarded_messages_total", topic="telemetry") == 4_000
    assert bridge.metric("bridge_in_flight_messages") == 0


def test_workshop_reports_arrive_as_maintenance(world: Any):
    """The records that the workshops published, keyed by the car, of whichever version."""
    broker = world.broker()
    world.bridge(broker).wait_ready()
    publisher = world.publisher(broker)
    report = {
        "car_id": world.fleet.car(1), "report_id": "r-1", "component": "tire_1_1", "action": "repaired",
        "occurred_at": 1_795_000_000_000, "reported_at": 1_795_000_100_000,
    }  # fmt: skip
    inspection = report | {"report_id": "r-2", "inspected": True, "alert_id": f"{world.fleet.car(1)}-7"}
    for version, sent in enumerate((report, inspection), 1):
        schema = get("maintenance", version)
        payload = single_object_header(schema) + records.body(schema, sent)
        publisher.send([(mqtt_topic(world.fleet.car(1), "maintenance"), payload)])
    world.until(lambda: len(world.log.read(MAINTENANCE)) == 2, "the reports in Kafka")
    messages = world.log.read(MAINTENANCE)
    assert {message.key().decode() for message in messages} == {world.fleet.car(1)}
    arrived = [records.decode(message.value()) for message in messages]
    assert arrived == [("maintenance", report), ("maintenance", inspection)]


def test_bad_messages_are_dead_letters_and_the_good_ones_go_on(world: Any):
    """Each bad message has its reason in a header, its payload and its MQTT topic; the rest goes on."""
    broker = world.broker()
    bridge = world.bridge(broker).wait_ready()
    publisher = world.publisher(broker)
    topic, good = world.fleet.telemetry(1, 1)
    bad = [
        (topic, b"", "bad_frame"),
        (topic, b'{"json": true}', "bad_frame"),
        (topic, b"\xc3\x01unknown!" + good[10:], "unknown_schema"),
        (topic, good[:-1], "malformed_record"),
        (topic, good + b"\0" * 8, "malformed_record"),
        (mqtt_topic(world.fleet.car(2), "telemetry"), good, "wrong_car"),
        (mqtt_topic(world.fleet.car(1), "video"), good, "wrong_topic"),
        (f"fleet/v1/{world.fleet.car(1)}/telemetry/more", good, "wrong_topic"),
        (f"fleet/v1/{world.fleet.name} 1/telemetry", good, "wrong_topic"),
        (topic, good + bytes(20_000), "oversized"),
        (topic, good + bytes(2_000_000), "oversized"),  # over Kafka's own limit
        (
            mqtt_topic(world.fleet.car(1), "maintenance"),
            single_object_header(latest("maintenance")),
            "wrong_car",
        ),
    ]
    for seq, (where, payload, _) in enumerate(bad, 1):
        publisher.send([(where, payload), world.fleet.telemetry(1, seq)])
    publisher.wait()
    world.until(
        lambda: len(world.log.read(REJECTED)) >= len(bad) and world.log.distinct() >= len(bad), "all in Kafka"
    )
    assert world.log.seqs() == {world.fleet.car(1): list(range(1, len(bad) + 1))}
    found = [(dict(m.headers()), m.value() or b"") for m in world.log.read(REJECTED)]
    expected = [(where.encode(), reason.encode(), payload[:65_536]) for where, payload, reason in bad]
    assert sorted((h["mqtt_topic"], h["reason"], value) for h, value in found) == sorted(expected)
    assert all(h["detail"] for h, _ in found)
    assert bridge.metric("bridge_rejected_messages_total", reason="oversized") == 2
    world.until(
        lambda: bridge.metric("bridge_acknowledged_messages_total") == 2 * len(bad), "all acknowledged"
    )


def test_a_packet_that_is_too_large_for_the_bridge_does_not_wedge_it(world: Any):
    """Over 4 MiB the broker does not pass it on, as the bridge asked; the connection stays."""
    broker = world.broker()
    bridge = world.bridge(broker).wait_ready()
    publisher = world.publisher(broker)
    topic, good = world.fleet.telemetry(1, 1)
    publisher.send([(topic, good), (topic, good + bytes(5_000_000)), world.fleet.telemetry(1, 2)])
    publisher.wait()
    world.until(lambda: world.log.distinct() >= 2, "the good ones in Kafka")
    assert world.log.seqs() == {world.fleet.car(1): [1, 2]}
    assert bridge.metric("bridge_connection_losses_total") == 0


def test_two_replicas_each_own_their_shards(world: Any):
    """Three shards, two replicas: every message once; each replica is connected to its shards only."""
    shards = [world.broker() for _ in range(3)]
    replicas = [world.bridge(*shards, replicas=2, ordinal=ordinal).wait_ready() for ordinal in (0, 1)]
    clients = [world.publisher(shard) for shard in shards]
    for seq in range(1, 51):
        for number, client in enumerate(clients):
            client.send([world.fleet.telemetry(number, seq)])
    world.until(lambda: world.log.distinct() >= 150, "all messages in Kafka")
    assert world.log.seqs() == {world.fleet.car(car): list(range(1, 51)) for car in range(3)}
    assert [replica.metric("bridge_connected_shards") for replica in replicas] == [2, 1]
    assert [replica.metric("bridge_received_messages_total") for replica in replicas] == [100, 50]


def test_a_shared_group_shares_one_broker(world: Any):
    """Instead of owning shards: two members of a group, each message goes to one of them and arrives once."""
    broker = world.broker()
    members = [
        world.bridge(broker, shared_group="edge", client_id=f"member-{number}").wait_ready()
        for number in (1, 2)
    ]
    publisher = world.publisher(broker)
    publisher.send(world.fleet.ticks(20, range(1, 21)))
    publisher.wait()
    world.until(lambda: world.log.distinct() >= 400, "all messages in Kafka")
    received = [member.metric("bridge_received_messages_total") for member in members]
    assert sum(received) == 400
    assert all(received)
