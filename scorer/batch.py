"""A batch of Kafka records in arrays, without the client's message objects.

A message is four Python objects of 400 bytes together. A batch of them does not fit into the processor's
cache, so they are unpacked and freed a piece at a time (`PIECE_RECORDS`), which takes a tenth less CPU.
"""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from contract.joined import Joined

PIECE_RECORDS = 2_000


class Record(NamedTuple):
    """A record as it came; an empty key counts as none."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes


class Run(NamedTuple):
    """Records of one partition that stand one after another in a batch."""

    start: int  # row of the first one
    partition: int
    offsets: Sequence[int]


@dataclass(frozen=True)
class Batch:
    """n records in order of arrival."""

    keys: Joined
    values: Joined
    partitions: NDArray[np.int32]  # (n,)
    runs: list[Run]

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(cls, messages: Sequence[Message], keys: Sequence[bytes | None]) -> "Batch":
        """From at least one message, none of which is an error, and their keys."""
        # `map` calls a method of a C class without a Python frame, in a third of the time of a loop.
        partitions = _as_array(list(map(Message.partition, messages)))
        # A client that catches up reads one partition after another, so the runs are few and long.
        starts = [0, *(np.flatnonzero(partitions[1:] != partitions[:-1]) + 1).tolist()]
        runs = [
            Run(start, int(partitions[start]), _offsets(messages, start, end))
            for start, end in zip(starts, [*starts[1:], len(messages)], strict=True)
        ]
        return cls(Joined.of(keys), Joined.of(list(map(Message.value, messages))), partitions, runs)

    @classmethod
    def joined(cls, pieces: Sequence["Batch"]) -> "Batch":
        """The records of at least one piece, one piece after another."""
        if len(pieces) == 1:
            return pieces[0]
        runs: list[Run] = []
        start = 0
        for piece in pieces:
            runs += (run._replace(start=start + run.start) for run in piece.runs)
            start += len(piece)
        keys = Joined.behind_each_other([piece.keys for piece in pieces])
        values = Joined.behind_each_other([piece.values for piece in pieces])
        return cls(keys, values, np.concatenate([piece.partitions for piece in pieces]), runs)

    def only(self, partitions: Collection[int]) -> "Batch":
        """The batch without the records of other partitions."""
        rows = np.flatnonzero(np.isin(self.partitions, list(partitions)))
        if len(rows) == len(self):
            return self
        runs, start = [], 0
        for run in self.runs:
            if run.partition in partitions:
                runs.append(run._replace(start=start))
                start += len(run.offsets)
        kept = rows.tolist()
        return Batch(self.keys.take(kept), self.values.take(kept), self.partitions[rows], runs)

    @cached_property
    def spans(self) -> dict[int, tuple[int, int]]:
        """Partition to (first offset, last offset) in the batch."""
        spans: dict[int, tuple[int, int]] = {}
        for run in self.runs:
            first, _ = spans.get(run.partition) or (run.offsets[0], 0)
            spans[run.partition] = first, run.offsets[-1]
        return spans

    def record(self, row: int) -> Record:
        """The record in a row."""
        run = self.runs[bisect_right(self.runs, row, key=lambda run: run.start) - 1]
        return Record(run.partition, run.offsets[row - run.start], self.keys[row] or None, self.values[row])


def _as_array(partitions: list[int | None]) -> NDArray[np.int32]:
    """The partitions (n,). A piece of one partition, usual while catching up, needs no conversion."""
    if partitions.count(partitions[0]) == len(partitions):
        return np.full(len(partitions), partitions[0], np.int32)
    return np.array(partitions, np.int32)


def _offsets(messages: Sequence[Message], start: int, end: int) -> Sequence[int]:
    """The offsets of a run. They ascend, so the first, the last and the count show whether any is missing."""
    first, last = _offset(messages[start]), _offset(messages[end - 1])
    if last - first == end - start - 1:
        return range(first, last + 1)
    return list(map(_offset, messages[start:end]))


def _offset(message: Message) -> int:
    offset = message.offset()
    assert offset is not None, "a record has an offset"
    return offset
