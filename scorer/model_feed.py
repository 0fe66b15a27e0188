"""The models topic as the scorer sees it: the newest model of its name that holds what its manifest says."""

import logging
from collections import deque

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from contract.errors import Malformed
from scorer import metrics
from scorer.model import Model, interpreter
from scorer.settings import RuntimeName

_log = logging.getLogger("scorer")

# Earlier records tried at the start when the newest is refused; compaction keeps no more of them for long.
_CANDIDATES_MAX = 5


class ModelFeed:
    """Reads the topic from its beginning, then follows it; never waits for it."""

    def __init__(self, consumer: Consumer, topic: str, name: str, runtime: RuntimeName) -> None:
        """`consumer` must report the end of the partition (`enable.partition.eof`).

        Raises SettingsError where the runtime is not installed.
        """
        interpreter(runtime)  # imported now, which takes a second, and not while scoring stands still
        self._consumer = consumer
        self._name = name.encode()
        self._runtime = runtime
        self._caught_up = False
        self._records: deque[bytes] = deque(maxlen=_CANDIDATES_MAX)
        consumer.assign([TopicPartition(topic, 0, 0)])

    def poll(self, timeout_s: float = 0.0) -> Model | None:
        """A model that came in since the last call and is sound. Refused ones are logged and counted."""
        while (message := self._consumer.poll(timeout_s)) is not None:
            timeout_s = 0.0
            error = message.error()
            if error is None:
                if message.key() == self._name and (record := message.value()) is not None:
                    self._records.append(record)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._caught_up = True
            elif not error.retriable() and error.code() != KafkaError._ALL_BROKERS_DOWN:
                raise KafkaException(error)
        if not self._caught_up:
            return None
        while self._records:
            model = self._open(self._records.pop())
            if model is not None:
                self._records.clear()
                return model
        return None

    def _open(self, record: bytes) -> Model | None:
        try:
            with metrics.swap_seconds.time():
                return Model.open(record, self._runtime)
        except Malformed as error:
            metrics.model_refusals.labels(error.reason).inc()
            _log.error("model refused, the one in use goes on: %s", error, extra={"bytes": len(record)})
            return None
