"""Retention that is faster than a reader: Kafka deletes records that were not read yet.

The records are deleted at a moment that the fault knows and not after a time. For a reader it is the same:
the first offset of the log moves on. It moves to what the run's own follower has read, so that the auditor
knows every record.
"""

import time
from collections.abc import Mapping
from concurrent.futures import Future

from confluent_kafka import TopicPartition

from contract.topics import TELEMETRY
from loadtest.chaos import by_rule
from loadtest.chaos.scene import Scene
from local.watch import scrape
from plumbing import kafka

LOOK_EVERY_S = 1.0  # of the watch over MirrorMaker
_PILED_UP_S, _KEPT_S = 15.0, 3.0


def scorers_overtaken(scene: Scene) -> None:
    """the scorer away until Kafka has deleted records that it has not scored: it says which"""
    with scene.away("scorer-0"):
        scene.wait(_PILED_UP_S * scene.pace)
        written, since = scene.follower.read_to(), time.time()
        # MirrorMaker is not overtaken by this, and its watch has seen that.
        scene.until(lambda: scene.follower.cloud_is_at_s > since, "the cloud has what the scorer has not")
        _wait_until_watched(scene)
        _delete(scene, written)
    scene.until(lambda: _counted(scene) == _named(scene), "the scorer counts what its log names", 10)


def mirror_overtaken(scene: Scene) -> None:
    """MirrorMaker away until Kafka has deleted records that it has not copied: its watch says which"""
    with scene.away("mirror"):
        scene.wait(_PILED_UP_S * scene.pace)
        _wait_until_watched(scene)
        written = scene.follower.read_to()
        scene.wait(_KEPT_S)
        _delete(scene, written)
        _wait_until_watched(scene)


def _counted(scene: Scene) -> float:
    return scene.scorer_metric(0, "scorer_skipped_records_total")


def _named(scene: Scene) -> int:
    return by_rule.records_in(by_rule.gaps_in(scene.last_log("scorer-0")))


def _wait_until_watched(scene: Scene) -> None:
    """Wait until the watch over MirrorMaker has compared what is there now."""
    port, now_s = scene.deployment.plan.ports.mirror_watch, time.time()
    seen_s = now_s + 2 * LOOK_EVERY_S
    scene.until(
        lambda: scrape(port).get("mirror_looked_timestamp_seconds", 0) > seen_s,
        "the watch over MirrorMaker compares the clusters",
    )


def _delete(scene: Scene, ends: Mapping[int, int]) -> None:
    """Delete telemetry before these offsets, by partition; where Kafka is away, again when it is back."""
    admin = kafka.admin(scene.deployment.edge.bootstrap)
    before = [TopicPartition(TELEMETRY, partition, end) for partition, end in ends.items()]
    asked: list[Future[object]] = []

    def deleted() -> bool:
        asked[:] = asked or admin.delete_records(before, request_timeout=10).values()
        if not all(each.done() for each in asked):
            return False
        failed = any(each.exception() for each in asked)
        asked.clear()
        return not failed

    scene.until(deleted, "Kafka deletes records")
