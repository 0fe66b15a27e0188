"""The offsets that topics hold, and every record between two offsets of each partition."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from plumbing.life import WorldDown

A = TypeVar("A")
# {(topic, partition): offset after the last one that is to be read}
Ends = dict[tuple[str, int], int]
# {topic: {partition: (first offset, offset after the last)}}
Bounds = dict[str, dict[int, tuple[int, int]]]

SILENCE_S_MAX = 30.0
_ANSWER_S_MAX, _ASK_AGAIN_S = 10.0, 0.1
_POLL_RECORDS_MAX, _POLL_S_MAX = 2_000, 0.01
_NO_LEADER_YET = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)


def bounds(consumer: Consumer, topics: Iterable[str]) -> Bounds:
    """The offsets that all partitions of the topics hold now. Raises WorldDown: no answer, no such topic."""
    known = _ask(lambda: consumer.list_topics(timeout=_ANSWER_S_MAX)).topics
    held: Bounds = {}
    for topic in topics:
        if topic not in known or known[topic].error is not None:
            raise WorldDown(f"Kafka has no topic {topic}")
        held[topic] = {
            number: bounds_of(consumer, topic, number) for number in sorted(known[topic].partitions)
        }
    return held


def exists(consumer: Consumer, topic: str) -> bool:
    """Whether the cluster has this topic. Raises WorldDown: no answer."""
    known = _ask(lambda: consumer.list_topics(timeout=_ANSWER_S_MAX)).topics
    return topic in known and known[topic].error is None


def partitions_of(consumer: Consumer, topic: str) -> int:
    """How many partitions a topic has, 0 where there is none. Raises WorldDown: no answer."""
    known = _ask(lambda: consumer.list_topics(timeout=_ANSWER_S_MAX)).topics
    return len(known[topic].partitions) if topic in known else 0


def bounds_of(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    """(first offset, offset after the last) that one partition holds now. Raises WorldDown as `bounds`."""
    asked = TopicPartition(topic, partition)
    return _ask(lambda: consumer.get_watermark_offsets(asked, timeout=_ANSWER_S_MAX))


def _ask(question: Callable[[], A | None]) -> A:
    """The answer; a partition that is new or changes its leader is asked again for 10 s."""
    deadline = time.monotonic() + _ANSWER_S_MAX
    while True:
        try:
            if (answer := question()) is not None:
                return answer
            raise WorldDown(f"Kafka did not answer within {_ANSWER_S_MAX:.0f} s")
        except KafkaException as error:
            if time.monotonic() > deadline or error.args[0].code() not in _NO_LEADER_YET:
                raise WorldDown(f"Kafka does not answer: {error.args[0].str()}") from error
        time.sleep(_ASK_AGAIN_S)


def ends_of(held: Bounds) -> Ends:
    """The ends of the partitions that hold anything: what has to be read before all of that is known."""
    return {
        (topic, partition): end
        for topic, partitions in held.items()
        for partition, (first, end) in partitions.items()
        if first < end
    }


def reached(ends: Ends, message: Message) -> bool:
    """Whether a partition is read to its end with this message; if so it leaves `ends`.

    The consumer must report the end of a partition: the last offsets may hold the marker of a transaction.
    That report alone does not suffice: of a partition that is always written to it may never come.
    """
    if not ends:
        return False
    place, error = (message.topic() or "", message.partition() or 0), message.error()
    end = ends.get(place, -1)
    at_end = error is not None and error.code() == KafkaError._PARTITION_EOF
    if end >= 0 and (at_end or (error is None and (message.offset() or 0) >= end - 1)):
        del ends[place]
        return True
    return False


def read(
    consumer: Consumer, bounds: Bounds, *, silence_s_max: float = SILENCE_S_MAX
) -> Iterator[list[Message]]:
    """All records within the bounds, in batches; those of a partition are in order.

    A batch is empty where nothing came for a moment, so that the caller can look at other things meanwhile.
    `consumer` must report the end of a partition (`enable.partition.eof`): the last offsets may hold the
    marker of a transaction instead of a record. Raises WorldDown for an error of a partition, and when
    nothing has come for `silence_s_max`.
    """
    ends = ends_of(bounds)
    if not ends:
        return
    assigned = [TopicPartition(topic, partition, bounds[topic][partition][0]) for topic, partition in ends]
    consumer.assign(assigned)
    consumer.resume(assigned)  # a reading that ended with an error has left them paused
    heard_at = time.monotonic()
    while ends:
        messages = consumer.consume(_POLL_RECORDS_MAX, _POLL_S_MAX)
        if messages:
            heard_at = time.monotonic()
        elif time.monotonic() - heard_at > silence_s_max:
            left = ", ".join(f"{topic}/{partition}" for topic, partition in ends)
            raise WorldDown(f"Kafka gave nothing more of {left} for {silence_s_max:.0f} s")
        yield [message for message in messages if _is_within(consumer, message, ends)]
    consumer.resume(assigned)  # a partition that stays paused could not be read a second time
    consumer.unassign()


def _is_within(consumer: Consumer, message: Message, ends: Ends) -> bool:
    """Whether this is a record below its partition's end. At the end the partition leaves `ends`."""
    topic, partition, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
    end, error = ends.get((topic, partition), -1), message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        raise WorldDown(f"Kafka: {topic}/{partition}: {error}")
    if reached(ends, message):
        consumer.pause([TopicPartition(topic, partition)])
    return error is None and offset < end
