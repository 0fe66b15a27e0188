"""Ends the hanging transactions of a Kafka broker that came back: `python -m local.transactions HOST:PORT`.

A broker that is alone has no leader for its partitions for a moment, when it starts after a kill or wakes up.
Kafka 4.3.1 takes partitions without a leader for deleted (KAFKA-20734): of a transaction that it was
about to end it skips the markers, and forgets it. Readers of committed records then wait for ever.

The supervisor runs this as a job. It ends at once where no reader is held up. Otherwise Kafka's tool names
the transactions that no coordinator knows, and each gets the end that its coordinator had decided. To abort
them all, as the tool would, loses records: the writer of a transaction whose commit was decided was told so.
"""

import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import NamedTuple

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from local import java
from local.ledger import read_topic
from plumbing import life
from plumbing.life import WorldDown

_LOG = "__transaction_state"  # of the coordinator
# How long readers may be held up before each search, which costs 2 s of CPU. A transaction of MirrorMaker
# that its coordinator knows ends within 10 s.
_WAITS_S = (3.0, 5.0, 10.0, 20.0, 40.0)
_ANSWER_S_MAX, _ASK_AGAIN_S = 30.0, 0.5
_TOOL, _TOOL_HEAP_MIB, _BROKER_ID = "org.apache.kafka.tools.TransactionsCommand", 64, "1"
_ROW = re.compile(r"^(\S+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(-?\d+)\s+(\d+)\s+(-?\d+)\s+-?\d+\s*$", re.MULTILINE)
# A record of the coordinator's log begins with version, producer id, its epoch, time-out, state.
_STATE = struct.Struct(">hqhib")
_ONGOING, _COMMIT, _ABORT = 1, 2, 3
_WHY = {
    True: "committed, as had been decided",
    False: "aborted, because no commit was decided: its writer writes the records again",
}
_WRITE_MARKERS, _VERSION, _CLIENT = 27, 1, b"mending"

Partition = tuple[str, int]


class Hanging(NamedTuple):
    """A transaction that is open in a partition and unknown to its coordinator, in Kafka's terms."""

    topic: str
    partition: int
    producer: int
    epoch: int
    coordinator_epoch: int  # of the last marker of this producer; -1: it has none
    start: int  # offset of its first record
    written_at: int  # time stamp of its last record, ms since 1970


def parse(output: str) -> list[Hanging]:
    """The transactions that `find-hanging` printed, among lines of log."""
    return [Hanging(topic, *map(int, numbers)) for topic, *numbers in _ROW.findall(output)]


def held_up(ends: dict[Partition, int], stable: dict[Partition, int]) -> list[Partition]:
    """The partitions of which committed readers (up to `stable`) cannot read up to `ends`."""
    return sorted(partition for partition, end in ends.items() if stable.get(partition, end) < end)


def commit_was_decided(decisions: Iterable[tuple[int, bytes]], hanging: Hanging) -> bool:
    """Whether the coordinator had decided to commit; `decisions` are (ms since 1970, record) of its log.

    A producer whose epoch does not grow has many transactions of the same epoch: this one was decided first
    after its last record. Without a decision no writer was told anything.
    """
    ongoing = False
    for decided_at, record in decisions:
        _, producer, epoch, _, state = _STATE.unpack_from(record)
        if producer != hanging.producer:
            continue
        if state == _ONGOING:
            ongoing = epoch == hanging.epoch
        elif ongoing and state in (_COMMIT, _ABORT) and decided_at >= hanging.written_at:
            return bool(state == _COMMIT)
    return False


def end_hanging(bootstrap: str) -> int:
    """End what hangs, and print what and how. Returns 1 where readers are still held up. Raises WorldDown."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    ends = _offsets(admin, IsolationLevel.READ_UNCOMMITTED)
    for wait_s in _WAITS_S:
        if not _stays_held_up(admin, ends, wait_s):
            return 0
        found = sorted(_find(bootstrap), key=lambda hanging: hanging.start)
        decisions = _decisions(bootstrap, {hanging.producer for hanging in found}) if found else []
        for hanging in found:
            stable = _offsets(admin, IsolationLevel.READ_COMMITTED)
            # Asked after the search: one that has ended meanwhile no longer holds up its partition.
            if stable.get((hanging.topic, hanging.partition)) == hanging.start:
                commit = commit_was_decided(decisions, hanging)
                write_marker(bootstrap, hanging, commit=commit)
                where = f"{hanging.topic}-{hanging.partition} from offset {hanging.start}"
                print(
                    f"ended a transaction in {where} that its coordinator forgot: {_WHY[commit]}", flush=True
                )
    left = held_up(ends, _offsets(admin, IsolationLevel.READ_COMMITTED))
    if left:
        print(f"an open transaction still holds up the readers of {left}")
    return 1 if left else 0


def _stays_held_up(admin: AdminClient, ends: dict[Partition, int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while held_up(ends, _offsets(admin, IsolationLevel.READ_COMMITTED)):
        if time.monotonic() > deadline:
            return True
        time.sleep(_ASK_AGAIN_S)
    return False


def _offsets(admin: AdminClient, isolation: IsolationLevel) -> dict[Partition, int]:
    """Up to where readers of this isolation can read, of every partition. Raises WorldDown.

    Partitions without a leader are waited for: while the coordinator's own have none, it knows nothing.
    """
    deadline = time.monotonic() + _ANSWER_S_MAX
    while True:
        try:
            topics = admin.list_topics(timeout=_ANSWER_S_MAX).topics
            latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
            asked = {
                TopicPartition(name, number): latest
                for name, topic in topics.items()
                for number in topic.partitions
            }
            answers = admin.list_offsets(asked, isolation_level=isolation) if asked else {}
            return {(at.topic, at.partition): answer.result().offset for at, answer in answers.items()}
        except KafkaException as error:
            if time.monotonic() > deadline:
                raise WorldDown(f"Kafka did not tell its offsets: {error}") from error
        time.sleep(_ASK_AGAIN_S)


def _find(bootstrap: str) -> list[Hanging]:
    arguments = ("find-hanging", "--broker-id", _BROKER_ID, "--max-transaction-timeout", "0")
    tool = java.command(
        _TOOL, "--bootstrap-server", bootstrap, *arguments, heap_mib=_TOOL_HEAP_MIB, archive="broker"
    )
    argv = ["setpriv", "--pdeathsig", "KILL", "--", *tool]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_ANSWER_S_MAX, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise WorldDown(f"{_TOOL} did not answer: {error}, {error.stderr!r}") from error
    return parse(done.stdout)


def _decisions(bootstrap: str, producers: set[int]) -> list[tuple[int, bytes]]:
    """(ms since 1970, record) of these producers in the coordinator's log. Raises WorldDown."""
    return [
        (message.timestamp()[1], message.value())
        for batch in read_topic(bootstrap, _LOG)
        for message in batch
        if message.value() and _STATE.unpack_from(message.value())[1] in producers
    ]


def write_marker(bootstrap: str, hanging: Hanging, *, commit: bool) -> None:
    """End a transaction in its partition. Raises WorldDown.

    Kafka's tool can only abort, so the request WriteTxnMarkers is written here, with one marker.
    """
    topic = hanging.topic.encode()
    partitions = struct.pack(">Bib", 2, hanging.partition, 0)  # lengths of arrays and strings count from 1
    marker = struct.pack(">qh?", hanging.producer, hanging.epoch, commit)
    marker += struct.pack(">BB", 2, len(topic) + 1) + topic + partitions
    marker += struct.pack(">ib", max(0, hanging.coordinator_epoch), 0)
    request = struct.pack(">hhih", _WRITE_MARKERS, _VERSION, 1, len(_CLIENT)) + _CLIENT + b"\0"
    request += struct.pack(">B", 2) + marker + b"\0"
    host, _, port = bootstrap.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), _ANSWER_S_MAX) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            stream = connection.makefile("rb")
            answer = stream.read(struct.unpack(">i", stream.read(4))[0])
    except (OSError, struct.error) as error:
        raise WorldDown(f"Kafka did not take the marker of {hanging}: {error}") from error
    # The error of the only partition comes last, before one empty field of tags for each level.
    (code,) = struct.unpack_from(">h", answer, len(answer) - 6)
    if code:
        raise WorldDown(f"Kafka refused the marker of {hanging}: error {code}")


if __name__ == "__main__":
    life.main(lambda: end_hanging(sys.argv[1]))
