"""Creates a cluster's topics from contract/topics.py and refuses topics with another number of partitions."""

from collections.abc import Sequence
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from contract.topics import Topic
from plumbing import kafka
from plumbing.life import WorldDown

_ANSWER_WITHIN_S = 30.0


def create(cluster: str, bootstrap: str, topics: Sequence[Topic], properties: Path | None = None) -> None:
    """Create the missing ones of `topics`; `properties` as for --kafka-properties.

    Raises WorldDown where the broker does not answer, or has a topic with another number of partitions.
    """
    admin = kafka.admin(bootstrap, properties)
    try:
        there = admin.list_topics(timeout=_ANSWER_WITHIN_S).topics
        partitions = {name: len(topic.partitions) for name, topic in there.items()}
        refuse_repartitioned(cluster, partitions, topics)
        missing = [
            NewTopic(topic.name, topic.partitions, 1, config=topic.config)
            for topic in topics
            if topic.name not in partitions
        ]
        for future in admin.create_topics(missing).values() if missing else ():
            future.result(timeout=_ANSWER_WITHIN_S)
    except KafkaException as error:
        raise WorldDown(f"{cluster} Kafka ({bootstrap}) did not create its topics: {error}") from error


def refuse_repartitioned(cluster: str, partitions: dict[str, int], topics: Sequence[Topic]) -> None:
    """Raises WorldDown for a topic with another number than `partitions`, of existing topics by name."""
    for topic in topics:
        existing = partitions.get(topic.name, topic.partitions)
        if existing != topic.partitions:
            raise WorldDown(
                f"{cluster} Kafka has {topic.name} with {existing} partitions, contract/topics.py says "
                f"{topic.partitions}: a car's records would move to another partition. Delete the topic, "
                "or start with an empty run folder"
            )
