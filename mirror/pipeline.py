"""The loop: follow MirrorMaker's offsets, and compare them with what the edge holds."""

import logging
import time
from collections import Counter
from dataclasses import dataclass

from confluent_kafka import Consumer

from mirror import metrics
from mirror.gaps import Copied, Gap, Held, PartitionWatch
from mirror.position import Partition, Position
from mirror.settings import Settings
from plumbing import kafka
from plumbing.health import Health
from plumbing.life import Stop
from plumbing.offsets import bounds

_log = logging.getLogger("mirror")

_POLL_S = 0.2


@dataclass(kw_only=True, eq=False)
class Pipeline:
    """One watch: the edge's offsets, MirrorMaker's position, one loop."""

    settings: Settings
    edge: Consumer
    position: Position
    health: Health
    stop: Stop

    def __post_init__(self) -> None:
        self._watches: dict[Partition, PartitionWatch] = {}

    def run(self) -> None:
        """Work until a stop is requested. Raises WorldDown."""
        self.stop.started()
        look_at = 0.0
        while not self.stop.requested:
            self.position.poll(_POLL_S)
            if self.position.caught_up and time.monotonic() >= look_at:
                look_at = time.monotonic() + self.settings.look_every_s
                self._look()
                self.health.ready()
            self.health.progress()
        self.health.unready("stopping")

    def _look(self) -> None:
        # Taken before the edge is asked: later ones would be ahead of what it answers.
        copied = dict(self.position.copied)
        topics = sorted({topic for topic, _ in copied})
        ids = kafka.topic_ids(self.settings.edge_bootstrap, self.settings.edge_properties, topics)
        behind: Counter[str] = Counter(dict.fromkeys(ids, 0))
        for topic in ids:  # a series that began with its first gap would show no increase
            for reason in metrics.REASONS:
                metrics.missing.labels(topic, reason)
        for topic, partitions in bounds(self.edge, ids).items():
            for number, (first, end) in partitions.items():
                if (place := (topic, number)) in copied:
                    held = Held(first, end, ids[topic])
                    behind[topic] += max(0, end - max(first, copied[place].next))
                    self._compare(place, copied[place], held)
        for topic, count in behind.items():
            metrics.behind.labels(topic).set(count)
        metrics.looked_at.set(time.time())

    def _compare(self, place: Partition, copied: Copied, held: Held) -> None:
        watch = self._watches.setdefault(place, PartitionWatch(copied, held))
        if gap := watch.look(copied, held):
            _say(place, gap)


def _say(place: Partition, gap: Gap) -> None:
    topic, number = place
    metrics.missing.labels(topic, gap.reason).inc(gap.count)
    _log.error(
        "%s/%d: the cloud will not have %d records from offset %d on: %s",
        topic, number, gap.count, gap.first,
        "the topic was made again, and MirrorMaker goes on at its old offset" if gap.reason == "made_again"
        else "deleted before they were copied",
        extra={"topic": topic, "partition": number, "offset": gap.first, "records": gap.count},
    )  # fmt: skip
