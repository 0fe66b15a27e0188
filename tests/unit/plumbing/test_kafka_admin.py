"""What is asked about a cluster: the ids of topics, and whether a group is at work."""

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException

from plumbing import kafka
from plumbing.life import WorldDown


class _Answer:
    def __init__(self, value: Any) -> None:
        self._value = value

    def result(self) -> Any:
        if isinstance(self._value, int):
            raise KafkaException(KafkaError(self._value))
        return self._value


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the cluster answers: `topics` by name, `groups`; a number is an error code."""
    given = SimpleNamespace(topics={}, groups=None)

    def client(_config: Any) -> Any:
        return SimpleNamespace(
            describe_topics=lambda _, request_timeout: {n: _Answer(v) for n, v in given.topics.items()},
            list_consumer_groups=lambda request_timeout: _Answer(given.groups),
        )

    monkeypatch.setattr(kafka, "AdminClient", client)
    return given


def test_topic_ids_are_those_that_kafka_gave(answers: SimpleNamespace) -> None:
    """A topic that is not there has none; a broker that gives no ids says 0, which is an empty one."""
    answers.topics = {
        "a": SimpleNamespace(topic_id="Yoio5r6GT7e4NOMnYPzKSA"),
        "b": SimpleNamespace(topic_id="A" * 22),
        "c": KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
    assert kafka.topic_ids("k:1", None, ["a", "b", "c"]) == {"a": "Yoio5r6GT7e4NOMnYPzKSA", "b": ""}
    answers.topics = {"a": KafkaError._TIMED_OUT}
    with pytest.raises(WorldDown, match="does not describe a"):
        kafka.topic_ids("k:1", None, ["a"])


@pytest.mark.parametrize(
    ("state", "at_work"),
    [
        (ConsumerGroupState.STABLE, True),
        (ConsumerGroupState.PREPARING_REBALANCING, True),
        (ConsumerGroupState.UNKNOWN, True),
        (ConsumerGroupState.EMPTY, False),
        (ConsumerGroupState.DEAD, False),
    ],
)
def test_a_group_is_at_work_unless_it_is_known_to_have_ended(
    answers: SimpleNamespace, state: Any, at_work: bool
) -> None:
    """Its state decides; a group that Kafka does not list has ended."""
    answers.groups = SimpleNamespace(valid=[SimpleNamespace(group_id="canary", state=state)])
    assert kafka.has_members("k:1", None, "canary") is at_work
    assert not kafka.has_members("k:1", None, "other")


def test_groups_that_cannot_be_listed_are_an_error(answers: SimpleNamespace) -> None:
    """Nobody may conclude from it that a group has ended."""
    answers.groups = KafkaError.CLUSTER_AUTHORIZATION_FAILED
    with pytest.raises(WorldDown, match="does not list its consumer groups"):
        kafka.has_members("k:1", None, "canary")
