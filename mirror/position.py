"""Where MirrorMaker is: the offsets that it commits with its copies, in a topic of the target cluster."""

import json
import logging

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from mirror.gaps import Copied
from plumbing.life import WorldDown
from plumbing.offsets import bounds, ends_of, reached

_log = logging.getLogger("mirror")

_RECORDS_MAX = 2_000  # at once
_NO_ERRORS = (KafkaError._PARTITION_EOF, KafkaError._ALL_BROKERS_DOWN)
Partition = tuple[str, int]


class Position:
    """Follows MirrorMaker's offsets in the copies of one cluster."""

    def __init__(self, consumer: Consumer, topic: str, source: str) -> None:
        """`consumer` must report the end of a partition; `source`: the copied cluster. Raises WorldDown."""
        self._consumer, self._source = consumer, source
        held = bounds(consumer, [topic])
        self._unread = ends_of(held)
        self.copied: dict[Partition, Copied] = {}
        begins = ((number, first) for number, (first, _) in held[topic].items())
        consumer.assign([TopicPartition(topic, number, first) for number, first in begins])

    @property
    def caught_up(self) -> bool:
        """Whether what was there at the start is read."""
        return not self._unread

    def poll(self, wait_s: float) -> None:
        """Read what has come. Raises WorldDown."""
        for message in self._consumer.consume(_RECORDS_MAX, wait_s):
            reached(self._unread, message)
            if (error := message.error()) is None:
                self._take(message)
            elif not error.retriable() and error.code() not in _NO_ERRORS:
                raise WorldDown(f"Kafka of the cloud: {error}")

    def _take(self, message: Message) -> None:
        """Take an offset; key ["…",{"cluster":"edge","partition":3,"topic":"telemetry"}], value {"offset":7}.

        That is the offset of the last record copied.
        """
        try:
            _, where = json.loads(message.key() or b"")
            partition = where["topic"], int(where["partition"])
            if where["cluster"] != self._source:
                return
            value = message.value()
            offset = None if value is None else int(json.loads(value)["offset"])
        except (ValueError, KeyError, TypeError):  # of another connector
            return
        if offset is None:  # removed by hand: it begins anew
            self.copied.pop(partition, None)
            return
        before = self.copied.get(partition, Copied(0))
        self.copied[partition] = Copied(offset + 1, before.turns + (offset < before.next - 1))
