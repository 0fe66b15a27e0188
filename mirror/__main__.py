"""python -m mirror: wiring only."""

from contextlib import closing

from contract.topics import TELEMETRY
from mirror.pipeline import Pipeline
from mirror.position import Position
from mirror.settings import Settings
from plumbing import kafka, service
from plumbing.health import Health
from plumbing.life import Stop

_TOPICS_WITHIN_S = 120.0  # MirrorMaker makes its topic when it first starts


def main() -> None:
    """Entry point."""
    service.run("mirror", Settings, __doc__, _run)


def _run(settings: Settings, health: Health, stop: Stop) -> None:
    edge = kafka.consumer(settings.edge_bootstrap, settings.edge_properties, group_id="mirror-watch")
    cloud = kafka.consumer(
        settings.cloud_bootstrap,
        settings.cloud_properties,
        group_id="mirror-watch",
        enable_partition_eof=True,
    )
    with closing(edge), closing(cloud):
        kafka.wait_for_topics(edge, (TELEMETRY,), stop=stop)
        kafka.wait_for_topics(cloud, (settings.offsets_topic,), _TOPICS_WITHIN_S, stop)
        if stop.requested:
            return
        position = Position(cloud, settings.offsets_topic, settings.edge_name)
        Pipeline(settings=settings, edge=edge, position=position, health=health, stop=stop).run()


if __name__ == "__main__":
    main()
