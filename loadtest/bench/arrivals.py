"""The benchmark's telemetry as it arrives in Kafka: when, whether all of it, and in each car's order."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]
from numpy.typing import NDArray

from contract.records import SINGLE_OBJECT_BYTES, confluent_header
from contract.schema import latest
from contract.telemetry import Decoder
from contract.topics import TELEMETRY, TELEMETRY_PARTITIONS
from contract.varints import Longs
from loadtest.bench.traffic import car_number
from loadtest.chaos.auditor import behind_newer, first_occurrences
from local.ledger import SEQ_BITS
from plumbing import kafka
from plumbing.life import WorldDown

_ANSWER_WITHIN_S = 20.0
_POLL_S_MIN, _POLL_S_MAX = 0.01, 0.5
_BATCH_MAX = 10_000
_OUR_HEADER = confluent_header(latest(TELEMETRY).schema_id)


@dataclass(frozen=True)
class Ledger:
    """What went wrong with the messages that must have arrived; all 0 where nothing did."""

    lost: int
    doubled: int  # arrivals after the first one
    out_of_order: int  # first arrivals behind a newer message of their car


def decode(keys: list[bytes], values: list[bytes]) -> tuple[Longs, Longs, Longs]:
    """(car, seq, sampled_at_ms), each (n,). Raises WorldDown where a record is not telemetry.

    Peers may leave the MQTT payload's header as it is.
    """
    framed = [value if value[:1] == b"\0" else _OUR_HEADER + value[SINGLE_OBJECT_BYTES:] for value in values]
    decoded = Decoder.of_all_versions().decode(framed, keys)
    if decoded.rejected:
        reason = decoded.rejected[0][1]
        raise WorldDown(f"{len(decoded.rejected)} of {len(values)} records are not telemetry: {reason}")
    return np.fromiter(map(car_number, keys), np.int64, len(keys)), decoded.seq, decoded.sampled_at_ms


class TelemetryReader:
    """Reads the telemetry topic from where it ended when this was created."""

    def __init__(self, bootstrap: str) -> None:
        self._consumer: Consumer = kafka.consumer(bootstrap, group_id="bench-arrivals")
        self._admin = admin(bootstrap)
        self._begin = end_offsets(self._admin)
        self._assigned = False
        self._keys: list[bytes] = []
        self._values: list[bytes] = []
        self._read_at_ms: list[float] = []

    def follow(self, seconds: float) -> None:
        """Read for `seconds`, each record as soon as it can be read."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            self._read(min(0.05, left_s))

    def read(self, count: int, timeout_s: float) -> tuple[Longs, Longs, Longs, NDArray[np.float64]]:
        """(car, seq, sampled_at_ms, read_at_ms), each (n,), of all records since the last call or creation.

        At least `count` of them, unless time runs out. Raises WorldDown where one is not telemetry.
        """
        deadline = time.monotonic() + timeout_s
        while len(self._keys) < count and time.monotonic() < deadline:
            self._read(0.1)
        self.follow(0.2)  # a doubled record would follow right behind
        records = (*decode(self._keys, self._values), np.array(self._read_at_ms, np.float64))
        self._keys, self._values, self._read_at_ms = [], [], []
        return records

    def drain_rate(self, count: int, timeout_s: float) -> float:
        """Records a second, from the first poll that finds some to the one that finds all `count`.

        Where one poll finds all, the time counts from the poll before. It polls only the end offsets of the
        log, more often as the end comes near: polling every 10 ms took 5 % of the two cores that everything
        measured shares. Call it before reading anything.
        Raises WorldDown where `count` records have not arrived within `timeout_s`.
        """
        first, first_at = 0, time.monotonic()
        deadline = first_at + timeout_s
        while True:
            arrived = sum(end_offsets(self._admin).values()) - sum(self._begin.values())
            now = time.monotonic()
            if arrived >= count:
                return (arrived - first) / (now - first_at)
            if not first:
                first, first_at = arrived, now
            if now > deadline:
                raise WorldDown(f"only {arrived} of {count} messages are in Kafka after {timeout_s:.0f} s")
            rest_s = (count - arrived) * (now - first_at) / (arrived - first) if arrived > first else 0.0
            time.sleep(min(max(rest_s / 2, _POLL_S_MIN), _POLL_S_MAX))

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    def _read(self, timeout_s: float) -> None:
        if not self._assigned:
            self._consumer.assign([TopicPartition(TELEMETRY, n, offset) for n, offset in self._begin.items()])
            self._assigned = True
        first = self._consumer.poll(timeout_s)
        if first is None:
            return
        messages = [first, *self._consumer.consume(_BATCH_MAX, 0)]
        now_ms = time.time() * 1_000
        for message in messages:
            if message.error() is not None:
                raise WorldDown(f"reading {TELEMETRY}: {message.error()}")
        self._keys += [message.key() or b"" for message in messages]
        self._values += [message.value() or b"" for message in messages]
        self._read_at_ms += [now_ms] * len(messages)


def admin(bootstrap: str) -> Any:
    """An admin client; confluent_kafka types it only in part."""
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})


def end_offsets(client: Any) -> dict[int, int]:
    """The next offset of each telemetry partition, in one request; a new topic has no leaders yet."""
    end = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    request = {TopicPartition(TELEMETRY, number): end for number in range(TELEMETRY_PARTITIONS)}
    deadline = time.monotonic() + _ANSWER_WITHIN_S
    while True:
        answers = client.list_offsets(request, request_timeout=_ANSWER_WITHIN_S)
        try:
            return {partition.partition: answer.result().offset for partition, answer in answers.items()}
        except KafkaException as error:
            if time.monotonic() > deadline:
                raise WorldDown(f"Kafka does not return the end offsets of {TELEMETRY}: {error}") from error
            time.sleep(0.1)


def reconcile(cars: Longs, seq: Longs, sent: int, fleet: int, first_seq: int) -> Ledger:
    """Compare records (n,) in the order of their arrival with the `sent` messages of traffic.Traffic.

    `fleet` cars took turns, each beginning with `first_seq`. Other records are ignored.
    """
    numbers = (seq - first_seq) * fleet + cars  # position in the traffic: 0 to sent - 1, each once
    record = (cars << SEQ_BITS | seq)[(numbers >= 0) & (numbers < sent)]
    arrived = record[first_occurrences(record)]
    overtaken = int(np.count_nonzero(behind_newer(arrived)))
    return Ledger(sent - len(arrived), len(record) - len(arrived), overtaken)


def percentiles(latencies_ms: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """(p50, p99), rounded to 0.1 ms. Raises WorldDown where there are no latencies."""
    if not len(latencies_ms):
        raise WorldDown("no message arrived while the steady load was measured")
    p50, p99 = np.percentile(latencies_ms, [50, 99])
    return round(float(p50), 1), round(float(p99), 1)
