"""A bridge with one broker behind a name server that is silent."""

import time
from typing import Any

import pytest

pytestmark = pytest.mark.integration

MESSAGES, EVERY_S = 150, 0.01
P99_MS_MAX = 100


def test_a_silent_name_server_delays_no_other_shard(world: Any, silent_names: list[str]):
    """The sound shard's messages are in Kafka within 100 ms (p99) from the start on, and SIGTERM ends it."""
    broker = world.broker()
    publisher = world.publisher(broker)
    bridge = world.bridge(broker, mqtt_brokers=f"{broker.where},away.example:1883", command=silent_names)
    world.until(lambda: bridge.metric("bridge_connected_shards") == 1, "the sound shard is connected", 5)
    sent_ms = {}
    for seq in range(1, MESSAGES + 1):
        sent_ms[seq] = time.time() * 1_000
        publisher.send([world.fleet.telemetry(1, seq)])
        time.sleep(EVERY_S)
    world.until(lambda: world.log.distinct() == MESSAGES, "all messages in Kafka", 3)
    waited_ms = sorted(
        message.timestamp()[1] - sent_ms[seq]
        for message, seq in zip(world.log.read(), world.log.seqs()[world.fleet.car(1)], strict=True)
    )
    assert waited_ms[int(0.99 * MESSAGES)] <= P99_MS_MAX
    assert bridge.get("/readyz") == (503, "1 broker shards are not connected\n")
    began = time.monotonic()
    assert bridge.terminate() == 0
    assert time.monotonic() - began < 3
