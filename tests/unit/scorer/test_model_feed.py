"""Which model of the topic is taken into use."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message
from prometheus_client import REGISTRY

from scorer.model_feed import ModelFeed

NAME = b"failure-detector"


@pytest.fixture
def feed(consumer: Any) -> ModelFeed:
    return ModelFeed(consumer, "cloud.models", NAME.decode(), "litert")


@pytest.fixture
def publish(consumer: Any) -> Callable[..., None]:
    """Puts records into the topic."""

    def put(*values: bytes | None, key: bytes | None = NAME) -> None:
        consumer.inbox.extend(Message(topic="cloud.models", key=key, value=value) for value in values)

    return put


@pytest.fixture
def read_to_end(consumer: Any) -> Callable[[], None]:
    """Kafka says that there is nothing more for now."""

    def end() -> None:
        consumer.inbox.append(Message(topic="cloud.models", error=KafkaError(KafkaError._PARTITION_EOF)))

    return end


def versions(feed: ModelFeed) -> list[int]:
    model = feed.poll()
    return [] if model is None else [model.manifest.version]


def refused(reason: str) -> float:
    return REGISTRY.get_sample_value("scorer_model_refusals_total", {"reason": reason}) or 0.0


def test_the_topic_is_read_from_its_beginning(consumer: Any, feed: ModelFeed) -> None:
    """The feed takes partition 0 from offset 0, in no group."""
    assert [(place.topic, place.partition, place.offset) for place in consumer.assigned] == [
        ("cloud.models", 0, 0)
    ]


def test_nothing_is_used_before_the_topic_is_read_to_its_end(
    feed: ModelFeed, publish: Any, read_to_end: Any, detector: Any
) -> None:
    """At the start an old model is not taken while a newer one may follow."""
    publish(detector.record(1))
    assert versions(feed) == []
    publish(detector.record(2))
    read_to_end()
    assert versions(feed) == [2]
    assert versions(feed) == []


def test_the_newest_record_wins_whatever_its_version(
    feed: ModelFeed, publish: Any, read_to_end: Any, detector: Any
) -> None:
    """The last record of the name is used; a lower version published again is a rollback."""
    publish(detector.record(1), detector.record(2), detector.record(3))
    read_to_end()
    assert versions(feed) == [3]
    publish(detector.record(2))
    assert versions(feed) == [2]


def test_other_names_and_deletions_are_passed_over(
    feed: ModelFeed, publish: Any, read_to_end: Any, detector: Any
) -> None:
    """Records of another model, without a key, or that delete a key change nothing."""
    publish(detector.record(1))
    publish(detector.record(9), key=b"other")
    publish(detector.record(8), key=None)
    publish(None)
    read_to_end()
    assert versions(feed) == [1]


def test_a_refused_model_leaves_the_one_in_use(
    feed: ModelFeed, publish: Any, read_to_end: Any, detector: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted and logged by its reason, once, and a later sound one is used."""
    publish(detector.record(1))
    read_to_end()
    assert versions(feed) == [1]
    before = refused("unknown_manifest_version"), refused("bad_frame")
    publish(detector.record(2, manifest_version=99), b"junk")
    with caplog.at_level(logging.ERROR):
        assert versions(feed) == []
        assert versions(feed) == []
    assert (refused("unknown_manifest_version"), refused("bad_frame")) == (before[0] + 1, before[1] + 1)
    assert [record.message.split(":")[1].strip() for record in caplog.records] == [
        "bad_frame", "unknown_manifest_version"
    ]  # fmt: skip
    publish(detector.record(3))
    assert versions(feed) == [3]


def test_an_earlier_model_serves_where_the_newest_is_refused(
    feed: ModelFeed, publish: Any, read_to_end: Any, detector: Any
) -> None:
    """At the start the newest sound record is used, however many broken ones follow it (within bounds)."""
    publish(detector.record(1), detector.record(2), b"junk", detector.record(3, signals=("speed",)))
    read_to_end()
    assert versions(feed) == [2]
    assert versions(feed) == []


def test_the_time_of_a_swap_is_measured_without_the_waiting(
    feed: ModelFeed, publish: Any, read_to_end: Any, detector: Any
) -> None:
    """scorer_model_swap_seconds counts each verification, and a poll without a record counts nothing."""

    def count() -> float:
        return REGISTRY.get_sample_value("scorer_model_swap_seconds_count") or 0.0

    before = count()
    feed.poll()
    publish(detector.record(1), b"junk")
    read_to_end()
    feed.poll()
    assert count() == before + 2


def test_an_error_that_passes_is_waited_out(consumer: Any, feed: ModelFeed) -> None:
    """Where no broker answers the client tries again by itself; where reading is forbidden nothing helps."""
    consumer.inbox.append(Message(error=KafkaError(KafkaError._ALL_BROKERS_DOWN)))
    assert feed.poll() is None
    consumer.inbox.append(Message(error=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)))
    with pytest.raises(KafkaException):
        feed.poll()
