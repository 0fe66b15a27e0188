"""The ledger: what the cars sent against what reached each later stage, record by record.

A record is identified by `(car_id, seq)`. The cars' journal tells what was sent: seq 1 to `sent` of each car.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract import records
from contract.telemetry import Decoder
from contract.topics import AUDIT, TELEMETRY, mirrored
from contract.varints import Longs
from plumbing import kafka, offsets

SEQ_BITS = 34  # contract.telemetry.SEQ_MAX
_TOPIC_S_MAX = 20.0


@dataclass(frozen=True)
class Published:
    """What n cars sent, by their own journal."""

    car_ids: list[str]
    sent: Longs  # (n,) records
    acknowledged: Longs  # (n,) records

    def sent_records(self, record: Longs) -> NDArray[np.bool_]:
        """Which of these records a car sent; `record` and the result have the same shape."""
        car, seq = record >> SEQ_BITS, record & ((1 << SEQ_BITS) - 1)
        sent: NDArray[np.bool_] = (record >= 0) & (seq >= 1) & (seq <= self.sent[np.maximum(car, 0)])
        return sent


@dataclass(frozen=True)
class Stage:
    """Counts of records at one stage of their way."""

    stage: str
    expected: int
    distinct: int
    duplicates: int
    lost: int


class Log(NamedTuple):
    """n records of a telemetry topic; every array is (n,)."""

    partition: Longs
    offset: Longs
    record: Longs  # car << SEQ_BITS | seq; -1 where undecodable
    sampled_at: Longs  # ms since 1970
    written_at: Longs  # ms since 1970: time stamp of the record in edge Kafka, which MirrorMaker keeps

    @classmethod
    def of(cls, parts: Sequence["Log"]) -> "Log":
        """The parts concatenated."""
        empty = [np.empty(0, np.int64)] * len(cls._fields)
        return cls(*map(np.concatenate, zip(empty, *parts, strict=True)))

    def rows(self, rows: NDArray[Any]) -> "Log":
        """The rows with these numbers, or of this mask (n,)."""
        return Log(*(column[rows] for column in self))

    def sorted(self) -> "Log":
        """The rows in order of partition and offset."""
        return self.rows(np.lexsort((self.offset, self.partition)))


def reconcile(
    published: Published, audits: list[dict[str, Any]], edge_bootstrap: str, cloud_bootstrap: str
) -> list[Stage]:
    """The stages acknowledged, edge_kafka, scored, cloud_kafka. Raises WorldDown where a Kafka is silent."""
    sent = int(published.sent.sum())
    acknowledged = int(np.minimum(published.acknowledged, published.sent).sum())
    at_edge = read_log(edge_bootstrap, TELEMETRY, published)
    at_cloud = read_log(cloud_bootstrap, mirrored("edge", TELEMETRY), published)
    return [
        Stage("acknowledged", sent, acknowledged, 0, sent - acknowledged),
        edge_stage(published, at_edge),
        scored_stage(published, at_edge, audits),
        _stage("cloud_kafka", published, at_cloud.record),
    ]


def edge_stage(published: Published, log: Log) -> Stage:
    """The stage `edge_kafka`, of all that the topic holds."""
    return _stage("edge_kafka", published, log.record)


def first_batches(audits: list[dict[str, Any]]) -> dict[int, dict[str, float]]:
    """{model version: {replica: when it scored the first batch with it, s since 1970}}."""
    first: dict[int, dict[str, float]] = defaultdict(dict)
    for audit in sorted(audits, key=lambda audit: audit["scored_at"]):
        first[audit["model_version"]].setdefault(audit["scorer"], audit["scored_at"] / 1000)
    return first


def scored_stage(published: Published, log: Log, audits: list[dict[str, Any]]) -> Stage:
    """The stage `scored`, as the audit log proves it.

    `duplicates` are records scored twice: by how many the audits count more scored records than there are
    distinct ones under their offsets.
    """
    covered = np.zeros(len(log.record), np.bool_)
    for partition in np.unique(log.partition):
        here = np.nonzero(log.partition == partition)[0]
        covered[here] = cover(log.offset[here], [a for a in audits if a["partition"] == partition])
    stage = _stage("scored", published, log.record[covered])
    scored = sum(audit["scored"] for audit in audits)
    return Stage("scored", stage.expected, stage.distinct, max(0, scored - stage.distinct), stage.lost)


def cover(offsets: Longs, audits: list[dict[str, Any]]) -> NDArray[np.bool_]:
    """Which of the offsets (n,) of one partition lie in the range of any audit record (n,)."""
    first = np.sort(np.array([audit["first_offset"] for audit in audits], np.int64))
    last = np.sort(np.array([audit["last_offset"] for audit in audits], np.int64))
    # An offset is inside a range where more ranges begin at or before it than end before it.
    begun, ended = np.searchsorted(first, offsets, "right"), np.searchsorted(last, offsets, "left")
    return np.greater(begun, ended)


def _stage(name: str, published: Published, record: Longs) -> Stage:
    """The counts of a stage; records that no car sent do not count."""
    genuine = record[published.sent_records(record)]
    distinct = len(np.unique(genuine))
    expected = int(published.sent.sum())
    return Stage(name, expected, distinct, len(genuine) - distinct, expected - distinct)


class LogDecoder:
    """Decodes messages of a telemetry topic; the cars are numbered as in `car_ids`."""

    def __init__(self, car_ids: Sequence[str]) -> None:
        self._cars = {car_id.encode(): number for number, car_id in enumerate(car_ids)}
        self._decoder = Decoder.of_all_versions()

    def decode(self, messages: Sequence[Any]) -> Log:
        """Decode messages that carry no error."""
        keys = [message.key() for message in messages]
        decoded = self._decoder.decode([message.value() for message in messages], keys)
        rows = decoded.rows
        car = np.array([self._cars.get(keys[row], -1) for row in rows], np.int64)
        record, sampled_at = np.full((2, len(messages)), -1, np.int64)
        record[rows] = np.where(car >= 0, car << SEQ_BITS | decoded.seq, -1)
        sampled_at[rows] = decoded.sampled_at_ms
        return Log(
            np.array([message.partition() for message in messages], np.int64),
            np.array([message.offset() for message in messages], np.int64),
            record,
            sampled_at,
            np.array([message.timestamp()[1] for message in messages], np.int64),
        )


def read_log(bootstrap: str, topic: str, published: Published, properties: Path | None = None) -> Log:
    """Everything that the topic holds now, decoded. Raises WorldDown."""
    decoder = LogDecoder(published.car_ids)
    return Log.of([decoder.decode(messages) for messages in read_topic(bootstrap, topic, properties)])


def read_audits(bootstrap: str, properties: Path | None = None) -> list[dict[str, Any]]:
    """All audit records of telemetry as it is now, not of a topic that it replaced. Raises WorldDown."""
    batches = read_topic(bootstrap, AUDIT, properties)
    audits = [records.decode(message.value())[1] for messages in batches for message in messages]
    now = kafka.topic_ids(bootstrap, properties, [TELEMETRY]).get(TELEMETRY, "")
    return [audit for audit in audits if audit.get("topic_id", "") in ("", now)]


def read_topic(bootstrap: str, topic: str, properties: Path | None = None) -> Iterator[list[Any]]:
    """All committed messages that a topic holds now, in batches. Raises WorldDown after silence."""
    consumer = kafka.consumer(bootstrap, properties, group_id="ledger", enable_partition_eof=True)
    try:
        kafka.wait_for_topics(consumer, (topic,), _TOPIC_S_MAX)
        yield from filter(None, offsets.read(consumer, offsets.bounds(consumer, [topic])))
    finally:
        consumer.close()
