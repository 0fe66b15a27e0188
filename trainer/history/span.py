"""A range of the log, from times or offsets that a person gives, to the offsets of each partition."""

import re
from datetime import UTC, datetime

from confluent_kafka import Consumer, KafkaException, TopicPartition

from plumbing.life import WorldDown
from plumbing.offsets import Bounds, bounds
from plumbing.settings import SettingsError

_ANSWER_S_MAX = 10.0
_OFFSETS = re.compile(r"\d+:\d+(,\d+:\d+)*")
_Positions = dict[tuple[str, int], int]  # (topic, partition): offset


def span(consumer: Consumer, topics: list[str], first: str, last: str) -> Bounds:
    """The offsets between two times (ISO 8601), `partition:offset,…`, or empty texts: all there is.

    Raises SettingsError for an end that cannot be read or that the log does not hold, and for a range without
    records; WorldDown.
    """
    held = bounds(consumer, topics)
    begins = _positions(consumer, held, first, "--from", 0)
    ends = _positions(consumer, held, last, "--to", 1)
    if any(begins[each] > ends[each] for each in begins) or begins == ends:
        raise SettingsError(
            f"no records from {first or 'the oldest'} to {last or 'the newest'}: the log holds {held}"
        )
    return {topic: {n: (begins[topic, n], ends[topic, n]) for n in held[topic]} for topic in held}


def since(consumer: Consumer, held: Bounds, first: str) -> Bounds:
    """What the log holds (`held`) from a time or offsets on, as `span` takes them; it may be nothing yet."""
    begins = _positions(consumer, held, first, "--from", 0)
    return {
        topic: {number: (max(low, begins[topic, number]), high) for number, (low, high) in partitions.items()}
        for topic, partitions in held.items()
    }


def _positions(consumer: Consumer, held: Bounds, text: str, flag: str, end: int) -> _Positions:
    """The offset of each partition at this end: 0 the beginning, 1 the end of what is `held`."""
    every = {(topic, number): pair[end] for topic in held for number, pair in held[topic].items()}
    if not text:
        return every
    if _OFFSETS.fullmatch(text):
        return _given(held, text, flag)
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        wanted = "a time (2026-11-30T10:00Z) nor offsets (0:1200,1:1250,…)"
        raise SettingsError(f"{flag} {text!r} is neither {wanted}") from error
    at_ms = int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
    try:
        found = consumer.offsets_for_times([TopicPartition(*each, at_ms) for each in every], _ANSWER_S_MAX)
    except KafkaException as error:
        raise WorldDown(f"Kafka does not say which offsets are of {text}: {error.args[0].str()}") from error
    # Behind the newest record there is no offset (-1): the end.
    return {
        (each.topic, each.partition): each.offset if each.offset >= 0 else held[each.topic][each.partition][1]
        for each in found
    }


def _given(held: Bounds, text: str, flag: str) -> _Positions:
    if len(held) != 1:
        raise SettingsError(f"{flag}: offsets are of one topic; with several --edge-names give a time")
    ((topic, partitions),) = held.items()
    offsets = {int(number): int(offset) for number, offset in (part.split(":") for part in text.split(","))}
    if wrong := sorted(offsets.keys() ^ partitions.keys()):
        raise SettingsError(f"{flag} must name each partition of {topic} once; wrong or missing: {wrong}")
    for number, offset in offsets.items():
        low, high = partitions[number]
        if not low <= offset <= high:
            raise SettingsError(f"{flag}: {topic}/{number} holds the offsets {low} to {high}, not {offset}")
    return {(topic, number): offset for number, offset in offsets.items()}
