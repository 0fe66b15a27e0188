"""The models topic, followed: the newest record of the model's name that passes verification."""

import contextlib
import logging
from collections import deque

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from contract import records
from contract.errors import Malformed
from contract.topics import challenger_key
from plumbing.tflite import RuntimeName, interpreter_class
from scorer import metrics
from scorer.model import Model

_log = logging.getLogger("scorer")

# Records kept: where the newest is refused at the start an earlier one is tried, and earlier models go on
# scoring the cars that the newest has not learned.
_CANDIDATES_MAX = 5


class ModelFeed:
    """Reads the topic from its beginning, then follows it."""

    def __init__(self, consumer: Consumer, topic: str, name: str, runtime: RuntimeName) -> None:
        """`consumer` must report the end of the partition (`enable.partition.eof`).

        Raises SettingsError where the runtime is not installed.
        """
        interpreter_class(runtime)  # the import takes a second, in which scoring would stand still later
        self._consumer = consumer
        self._name, self._challenger_key = name.encode(), challenger_key(name).encode()
        self._runtime = runtime
        self._caught_up = False
        self._kept: dict[int, bytes] = {}  # the last records, by version
        self._records: deque[bytes] = deque(maxlen=_CANDIDATES_MAX)  # records not tried yet
        # Likewise of the challenger; None: the end of its trial.
        self._challengers: deque[bytes | None] = deque(maxlen=_CANDIDATES_MAX)
        consumer.assign([TopicPartition(topic, 0, 0)])

    def poll(self, timeout_s: float = 0.0) -> Model | None:
        """The newest verified model that arrived since the last call. Refused ones are logged and counted.

        Waits up to `timeout_s` for a record. Returns None before the topic has been read to its end.
        """
        while (message := self._consumer.poll(timeout_s)) is not None:
            timeout_s = 0.0
            error = message.error()
            if error is None:
                key, record = message.key(), message.value()
                if key == self._name and record is not None:
                    self._records.append(record)
                    self._keep(record)
                elif key == self._challenger_key:
                    self._challengers.append(record)
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

    def challenger(self) -> tuple[bool, Model | None]:
        """(whether there is news since the last call, the newest verified challenger or None after a trial).

        To be called after `poll` has found a first model: a challenger is on trial beside a champion.
        """
        while self._challengers:
            record = self._challengers.pop()
            model = None if record is None else self._open(record)
            if record is None or model is not None:
                self._challengers.clear()
                return True, model
        return False, None

    def earlier(self, version: int) -> Model | None:
        """An earlier model, if its record is among the last ones and passes verification."""
        record = self._kept.get(version)
        return None if record is None else self._open(record)

    def _keep(self, record: bytes) -> None:
        with contextlib.suppress(Malformed):  # it is logged when it is opened
            _, fields = records.decode(record)
            if (version := fields.get("version")) is not None:
                self._kept.pop(version, None)
                self._kept[version] = record
        while len(self._kept) > _CANDIDATES_MAX:
            del self._kept[next(iter(self._kept))]

    def _open(self, record: bytes) -> Model | None:
        try:
            with metrics.swap_seconds.time():
                return Model.open(record, self._runtime)
        except Malformed as error:
            metrics.model_refusals.labels(error.reason).inc()
            _log.error("model refused, the one in use stays: %s", error, extra={"bytes": len(record)})
            return None
