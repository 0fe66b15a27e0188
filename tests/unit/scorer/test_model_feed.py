"""The model of the topic that is used."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message
from prometheus_client import REGISTRY

from contract.manifest import Decision
from scorer.model_feed import ModelFeed

NAME = b"failure-detector"
CHALLENGER = b"failure-detector/challenger"


@pytest.fixture
def feed(consumer: Any) -> ModelFeed:
    return ModelFeed(consumer, "cloud.models", NAME.decode(), "litert")


@pytest.fixture
def publish(consumer: Any) -> Callable[..., None]:
    """A function that appends records to the topic."""

    def put(*values: bytes | None, key: bytes | None = NAME) -> None:
        consumer.inbox.extend(Message(topic="cloud.models", key=key, value=value) for value in values)

    return put


@pytest.fixture
def read_to_end(consumer: Any) -> Callable[[], None]:
    """A function that lets Kafka report the end of the partition."""

    def end() -> None:
        consumer.inbox.append(Message(topic="cloud.models", error=KafkaError(KafkaError._PARTITION_EOF)))

    return end


def versions(feed: ModelFeed) -> list[int]:
    model = feed.poll()
    return [] if model is None else [model.manifest.version]


def refused(reason: str) -> float:
    return REGISTRY.get_sample_value("scorer_model_refusals_total", {"reason": reason}) or 0.0


def test_the_topic_is_read_from_its_beginning(consumer: Any, feed: ModelFeed) -> None:
    """The feed assigns itself partition 0 from offset 0, without a group."""
    assert [(each.topic, each.partition, each.offset) for each in consumer.assigned] == [
        ("cloud.models", 0, 0)
    ]


def test_nothing_is_used_before_the_topic_is_read_to_its_end(
    feed: ModelFeed, publish: Any, read_to_end: Any, detector: Any
) -> None:
    """At the start an old model is not used while a newer one may follow."""
    publish(detector.record(1))
    assert versions(feed) == []
    publish(detector.record(2))
    read_to_end()
    assert versions(feed) == [2]
    assert versions(feed) == []


def test_the_newest_record_wins_whatever_its_version(
    feed: ModelFeed, publish: Any, read_to_end: Any, detector: Any
) -> None:
    """The last record of the name is used, also one of a lower version (a rollback)."""
    publish(detector.record(1), detector.record(2), detector.record(3))
    read_to_end()
    assert versions(feed) == [3]
    publish(detector.record(2))
    assert versions(feed) == [2]


def test_other_names_and_deletions_are_ignored(
    feed: ModelFeed, publish: Any, read_to_end: Any, detector: Any
) -> None:
    """Records of another model, without a key, or without a value change nothing."""
    publish(detector.record(1))
    publish(detector.record(9), key=b"other")
    publish(detector.record(8), key=None)
    publish(None)
    read_to_end()
    assert versions(feed) == [1]


def test_a_refused_model_leaves_the_one_in_use(
    feed: ModelFeed, publish: Any, read_to_end: Any, detector: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A refusal is counted and logged once, with its reason; a later valid model is used."""
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


def test_at_the_start_an_earlier_model_replaces_refused_ones(
    feed: ModelFeed, publish: Any, read_to_end: Any, detector: Any
) -> None:
    """The newest valid record is used, however many refused ones follow it (within a bound)."""
    publish(detector.record(1), detector.record(2), b"junk", detector.record(3, signals=("speed",)))
    read_to_end()
    assert versions(feed) == [2]
    assert versions(feed) == []


def test_the_time_of_a_verification_is_measured(
    feed: ModelFeed, publish: Any, read_to_end: Any, detector: Any
) -> None:
    """scorer_model_swap_seconds observes each verification, and nothing for a poll without a record."""

    def count() -> float:
        return REGISTRY.get_sample_value("scorer_model_swap_seconds_count") or 0.0

    before = count()
    feed.poll()
    publish(detector.record(1), b"junk")
    read_to_end()
    feed.poll()
    assert count() == before + 2


def test_only_a_lasting_error_is_raised(consumer: Any, feed: ModelFeed) -> None:
    """Where no broker answers the client retries by itself; a missing permission is raised."""
    consumer.inbox.append(Message(error=KafkaError(KafkaError._ALL_BROKERS_DOWN)))
    assert feed.poll() is None
    consumer.inbox.append(Message(error=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)))
    with pytest.raises(KafkaException):
        feed.poll()


def shared(detector: Any, version: int, share: float) -> bytes:
    record: bytes = detector.record(version, decision=Decision(published=True, share=share))
    return record


def challenger(feed: ModelFeed) -> tuple[int, float | None] | None:
    """(version, share) of a challenger that is news; None where its trial has ended."""
    news, model = feed.challenger()
    assert news
    return None if model is None else (model.manifest.version, model.manifest.decision.share)


def test_a_challenger_is_read_under_its_own_key(
    feed: ModelFeed, publish: Any, read_to_end: Any, detector: Any
) -> None:
    """It is no champion; a newer record of it has another share; a deletion ends the trial."""
    publish(detector.record(1))
    publish(shared(detector, 2, 0.0), key=CHALLENGER)
    read_to_end()
    assert versions(feed) == [1]
    assert challenger(feed) == (2, 0.0)
    assert feed.challenger() == (False, None)
    publish(shared(detector, 2, 0.1), key=CHALLENGER)
    assert versions(feed) == []
    assert challenger(feed) == (2, pytest.approx(0.1))
    publish(None, key=CHALLENGER)
    assert versions(feed) == []
    assert challenger(feed) is None


def test_a_challenger_waits_for_a_champion(
    feed: ModelFeed, publish: Any, read_to_end: Any, detector: Any
) -> None:
    """Whichever comes first, it is there when the champion is."""
    publish(shared(detector, 2, 0.0), key=CHALLENGER)
    read_to_end()
    assert versions(feed) == []
    publish(detector.record(1))
    assert versions(feed) == [1]
    assert challenger(feed) == (2, 0.0)


def test_a_refused_challenger_leaves_the_one_before(
    feed: ModelFeed, publish: Any, read_to_end: Any, detector: Any
) -> None:
    """It is counted; where nothing before it is news, nothing changes."""
    publish(detector.record(1))
    publish(shared(detector, 2, 0.0), b"junk", key=CHALLENGER)
    read_to_end()
    before = refused("bad_frame")
    assert versions(feed) == [1]
    assert challenger(feed) == (2, 0.0)
    publish(b"junk", key=CHALLENGER)
    assert versions(feed) == []
    assert feed.challenger() == (False, None)
    assert refused("bad_frame") == before + 2


def test_of_a_trial_that_is_over_nothing_is_news(
    feed: ModelFeed, publish: Any, read_to_end: Any, detector: Any
) -> None:
    """At the start the last word counts."""
    publish(detector.record(1))
    publish(shared(detector, 2, 0.0), None, key=CHALLENGER)
    read_to_end()
    assert versions(feed) == [1]
    assert challenger(feed) is None
