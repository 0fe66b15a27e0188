"""Nothing that a broker acknowledged is lost, whatever dies between it and Kafka."""

import threading
import time
from typing import Any

import pytest

pytestmark = pytest.mark.integration


def test_nothing_is_acknowledged_before_kafka_has_it(world: Any):
    """Kafka stands still, the bridge is killed with 300 messages unacknowledged: the next gets them."""
    broker = world.broker()
    bridge = world.bridge(broker).wait_ready()
    publisher = world.publisher(broker)
    publisher.send(world.fleet.ticks(10, range(1, 11)))
    world.until(lambda: bridge.metric("bridge_acknowledged_messages_total") == 100, "the first 100")
    world.kafka.pause()
    publisher.send(world.fleet.ticks(10, range(11, 41)))
    publisher.wait()
    world.until(lambda: bridge.metric("bridge_in_flight_messages") > 0, "a round that waits for Kafka")
    assert bridge.metric("bridge_acknowledged_messages_total") == 100
    bridge.kill()
    world.kafka.resume()
    second = world.bridge(broker).wait_ready()
    world.until(lambda: world.log.distinct() >= 400, "all messages in Kafka")
    world.until(lambda: second.metric("bridge_acknowledged_messages_total") == 300, "the 300 acknowledged")
    for seqs in world.log.seqs().values():
        assert list(dict.fromkeys(seqs)) == list(range(1, 41))  # each for the first time in its order


def test_a_bridge_killed_again_and_again_loses_nothing(world: Any):
    """Three kill -9 under traffic: every (car, seq) is in Kafka, first occurrences in order, few doubled."""
    broker = world.broker()
    publisher = world.publisher(broker)
    bridge = world.bridge(broker).wait_ready()
    traffic = threading.Thread(
        target=lambda: [
            publisher.send(world.fleet.ticks(20, [seq])) or pause.wait(0.01) for seq in range(1, 301)
        ]
    )
    pause = threading.Event()
    traffic.start()
    for least in (500, 1_500, 3_000):
        world.until(lambda least=least: world.log.distinct() >= least, f"{least} messages in Kafka")
        bridge.kill()
        bridge = world.bridge(broker)
    traffic.join()
    publisher.wait()
    world.until(lambda: world.log.distinct() >= 6_000, "all messages in Kafka")
    seqs = world.log.seqs()
    assert {car: list(dict.fromkeys(found)) for car, found in seqs.items()} == {
        world.fleet.car(car): list(range(1, 301)) for car in range(20)
    }


def test_a_broker_that_restarts_keeps_what_it_acknowledged(world: Any):
    """SIGTERM while Kafka stands still: the broker saves its queue, the bridge comes back to its session."""
    broker = world.broker()
    bridge = world.bridge(broker).wait_ready()
    publisher = world.publisher(broker)
    world.kafka.pause()
    publisher.send(world.fleet.ticks(10, range(1, 21)))
    publisher.wait()
    world.until(lambda: bridge.metric("bridge_in_flight_messages") > 0, "a round that waits for Kafka")
    broker.stop()
    world.until(lambda: bridge.get("/readyz")[0] == 503, "unready")
    broker.start()
    bridge.wait_ready()
    publisher.send(world.fleet.ticks(10, range(21, 31)))
    world.kafka.resume()
    world.until(lambda: world.log.distinct() >= 300, "all messages in Kafka")
    assert {tuple(dict.fromkeys(seqs)) for seqs in world.log.seqs().values()} == {tuple(range(1, 31))}
    assert bridge.metric("bridge_connection_losses_total") >= 1
    assert "session resumed" in bridge.log


def test_a_broker_that_is_killed_finds_its_bridge_again(world: Any):
    """SIGKILL loses the session: the bridge subscribes anew and what is published from then on arrives."""
    broker = world.broker()
    bridge = world.bridge(broker).wait_ready()
    world.publisher(broker).send(world.fleet.ticks(5, [1]))
    world.until(lambda: world.log.distinct() == 5, "the first in Kafka")
    broker.kill()
    world.until(lambda: bridge.get("/readyz")[0] == 503, "unready")
    broker.start()
    bridge.wait_ready()
    world.publisher(broker).send(world.fleet.ticks(5, [2]))
    world.until(lambda: world.log.distinct() == 10, "the second in Kafka")


def test_a_bridge_waits_for_its_broker(world: Any):
    """Nobody there at the start: unready, with the reason, until there is."""
    broker = world.broker()
    broker.stop()
    bridge = world.bridge(broker)
    world.until(lambda: bridge.get("/readyz") == (503, "1 broker shards are not connected\n"), "unready")
    assert bridge.get("/healthz")[0] == 200
    broker.start()
    bridge.wait_ready()


def test_back_pressure_stops_the_reading_and_not_the_cars(world: Any):
    """Kafka stands still in a backlog: memory and what is in flight stay bounded; cars go on; all arrives."""
    broker = world.broker()
    world.bridge(broker, in_flight_max=500).wait_ready().kill()
    publisher = world.publisher(broker)
    publisher.send(world.fleet.ticks(100, range(1, 101)))
    publisher.wait()
    bridge = world.bridge(broker, in_flight_max=500).wait_ready()
    world.until(lambda: bridge.metric("bridge_acknowledged_messages_total") > 1_000, "the backlog flows")
    world.kafka.pause()
    before_mib = bridge.memory_mib
    publisher.send(world.fleet.ticks(100, range(101, 151)))
    publisher.wait()  # the broker takes them all
    time.sleep(1)  # what an unbounded bridge would read meanwhile
    # At most the limit, and what the read that reached it brought: 256 KiB.
    assert 0 < bridge.metric("bridge_in_flight_messages") <= 500 + 262_144 / 100
    assert bridge.metric("bridge_pauses_total") > 0
    assert bridge.memory_mib - before_mib < 30
    assert bridge.get("/healthz")[0] == 200
    world.kafka.resume()
    world.until(lambda: world.log.distinct() >= 15_000, "all messages in Kafka")
    assert {tuple(seqs) for seqs in world.log.seqs().values()} == {tuple(range(1, 151))}
    assert bridge.metric("bridge_connection_losses_total") == 0


def test_sigterm_drains(world: Any):
    """Under traffic: status 0, nothing unacknowledged; the next bridge doubles nothing and loses nothing."""
    broker = world.broker()
    first = world.bridge(broker).wait_ready()
    publisher = world.publisher(broker)
    publisher.send(world.fleet.ticks(100, range(1, 51)))
    world.until(lambda: world.log.distinct() >= 500, "the first in Kafka")
    assert first.terminate() == 0
    assert '"unacknowledged": 0' in first.log
    publisher.send(world.fleet.ticks(100, range(51, 101)))
    world.bridge(broker).wait_ready()
    publisher.wait()
    world.until(lambda: world.log.distinct() >= 10_000, "all messages in Kafka")
    assert {tuple(seqs) for seqs in world.log.seqs().values()} == {tuple(range(1, 101))}


def test_kafka_away_for_too_long_ends_the_bridge(world: Any):
    """Status 1 with the reason and what to look at after delivery_timeout_s; its successor gets all."""
    broker = world.broker()
    bridge = world.bridge(broker, delivery_timeout_s=2).wait_ready()
    publisher = world.publisher(broker)
    world.kafka.pause()
    publisher.send(world.fleet.ticks(5, [1]))
    assert bridge.process.wait(30) == 1
    assert "Kafka did not take a message for telemetry" in bridge.log
    assert "check that --kafka-bootstrap answers" in bridge.log
    world.kafka.resume()
    world.bridge(broker).wait_ready()
    world.until(lambda: world.log.distinct() == 5, "all messages in Kafka")


@pytest.mark.parametrize(
    ("settings", "status", "message"),
    [
        ({"in_flight_max": 0}, 2, "--in-flight-max 0 must be"),
        ({"speed": 3}, 2, "--speed"),
        ({"kafka_properties": "/nowhere/client.properties"}, 2, "/nowhere/client.properties"),
    ],
)
def test_bad_settings_end_the_start(world: Any, settings: dict[str, Any], status: int, message: str):
    """Status 2 and one line that names the setting."""
    bridge = world.bridge(world.broker(), **settings)
    assert bridge.process.wait(30) == status
    assert message in bridge.log
    assert "Traceback" not in bridge.log


def test_two_bridges_on_one_shard_say_so(world: Any):
    """A wrong --ordinal or --replicas: each takes the session from the other, and says what to change."""
    broker = world.broker()
    first = world.bridge(broker).wait_ready()
    second = world.bridge(broker, mqtt_brokers=f"{broker.where},127.0.0.1:1", replicas=2)
    world.until(lambda: "--ordinal of its own" in first.log, "the first says it")
    assert "Is another client called bridge-0" in first.log
    second.kill()
    first.wait_ready()


def test_a_kafka_that_does_not_answer_is_named(world: Any):
    """Said at once, while the bridge goes on looking: Kafka may be on its way."""
    bridge = world.bridge(world.broker(), kafka_bootstrap="127.0.0.1:1")
    world.until(lambda: "is --kafka-bootstrap right?" in bridge.log, "the reason in the log")
    assert "looking again for 30 s" in bridge.log
    assert bridge.process.poll() is None


def test_a_taken_metrics_port_ends_the_start(world: Any):
    """Status 1, naming the port and the setting."""
    broker = world.broker()
    bridge = world.bridge(broker, metrics_port=broker.port)
    assert bridge.process.wait(30) == 1
    assert f"{broker.port}" in bridge.log
    assert "choose another --metrics-port" in bridge.log


def test_sigterm_while_it_waits_for_kafka_ends_it(world: Any):
    """Kafka stands still at the start: status 0 within a few seconds, not after the wait for its topics."""
    world.kafka.pause()
    bridge = world.bridge(world.broker())
    world.until(lambda: bridge.get("/healthz")[0] == 200, "started")
    began = time.monotonic()
    assert bridge.terminate() == 0
    assert time.monotonic() - began < 8
