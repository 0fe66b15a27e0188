"""What the group's list of members says about this replica."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from contract.telemetry import Decoder
from scorer.membership import Membership
from scorer.model import Model

from .scene import Scene


class _Group:
    """Admin client and consumer in one; each question gets the next answer."""

    def __init__(self, *answers: list[str] | KafkaException | None) -> None:
        self.answers, self.asked = list(answers), 0

    def describe_consumer_groups(self, groups: list[str], request_timeout: float) -> Any:
        self.asked += 1
        future: Future[Any] = Future()
        answer = self.answers.pop(0)
        if isinstance(answer, KafkaException):
            future.set_exception(answer)
        elif answer is not None:
            future.set_result(SimpleNamespace(members=[SimpleNamespace(member_id=m) for m in answer]))
        return {groups[0]: future}

    def memberid(self) -> str:
        return "me"


def _membership(group: Any) -> Membership:
    return Membership(lambda: group, group, "scorer")


def test_a_member_is_confirmed():
    """By the answer to the first question that names it; it asks each second."""
    group = _Group([], ["other"], ["other", "me"])
    membership = _membership(group)
    assert [membership.confirmed(now) for now in (100.0, 101.0, 102.0, 103.0, 103.1)] == [False] * 4 + [True]
    assert group.asked == 3


def test_no_answer_is_not_waited_for():
    """The loop goes on; nothing is asked beside a question that waits."""
    group = _Group(None)
    membership = _membership(group)
    assert not any(membership.confirmed(now) for now in (100.0, 101.0, 102.0, 110.0))
    assert group.asked == 1


def test_one_that_is_shut_out_is_told_why(caplog: pytest.LogCaptureFixture):
    """Once, naming the setting; an error of the question is logged, too."""
    error = KafkaException(KafkaError(KafkaError._TIMED_OUT))
    membership = _membership(_Group(error, error, *[[]] * 20))
    assert not any(membership.confirmed(100.0 + second) for second in range(20))
    assert len([text for text in caplog.messages if "--group-protocol classic" in text]) == 1
    assert len([text for text in caplog.messages if "does not describe" in text]) == 1


def test_a_spare_is_ready_once_the_group_names_it(
    consumer: Any, producer: Any, decoder: Decoder, model: Model
):
    """Without partitions a replica may be a spare, or shut out by a Kafka that says nothing."""
    scene, seen = Scene(consumer, producer, decoder, model), []

    def note() -> None:
        seen.append(scene.health.not_ready_because)

    def join() -> None:
        note()
        scene.in_group = True

    scene.starts = {}
    scene.run(note, join, note, note)
    assert seen == ["not in the consumer group yet"] * 2 + [""] * 2
    assert scene.asked_group == 4  # not again once it has said yes
