"""Records taken from Kafka together, without the client's messages.

A message is four objects of Python, 400 bytes. A batch of them does not fit into a processor's cache, so they
are unpacked and let go a piece at a time (`PIECE_RECORDS`): a tenth less CPU than all of them at once.
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
    """One of them, as it came; an empty key is none."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes


class Run(NamedTuple):
    """Records of one partition behind each other; `start`: the row of the first."""

    start: int
    partition: int
    offsets: Sequence[int]


@dataclass(frozen=True)
class Batch:
    """n records in order of arrival; `partitions` (n,)."""

    keys: Joined
    values: Joined
    partitions: NDArray[np.int32]
    runs: list[Run]

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(cls, messages: Sequence[Message], keys: Sequence[bytes | None]) -> "Batch":
        """From at least one message, none of them an error, and their keys."""
        # `map` over a method of the class calls it without a frame of Python's: a third of a loop's cost.
        partitions = _numbers(list(map(Message.partition, messages)))
        # A client that catches up reads one after another: few runs of the same partition.
        starts = [0, *(np.flatnonzero(partitions[1:] != partitions[:-1]) + 1).tolist()]
        runs = [
            Run(start, int(partitions[start]), _offsets(messages, start, end))
            for start, end in zip(starts, [*starts[1:], len(messages)], strict=True)
        ]
        return cls(Joined.of(keys), Joined.of(list(map(Message.value, messages))), partitions, runs)

    @classmethod
    def joined(cls, pieces: Sequence["Batch"]) -> "Batch":
        """At least one piece, one behind another."""
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
        """The records of these partitions."""
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
        """Partition to the first and the last offset in the batch."""
        spans: dict[int, tuple[int, int]] = {}
        for run in self.runs:
            first, _ = spans.get(run.partition) or (run.offsets[0], 0)
            spans[run.partition] = first, run.offsets[-1]
        return spans

    def record(self, row: int) -> Record:
        """One of them."""
        run = self.runs[bisect_right(self.runs, row, key=lambda run: run.start) - 1]
        return Record(run.partition, run.offsets[row - run.start], self.keys[row] or None, self.values[row])


def _numbers(partitions: list[int | None]) -> NDArray[np.int32]:
    """As an array. While catching up most pieces are of one partition, which costs next to nothing to see."""
    if partitions.count(partitions[0]) == len(partitions):
        return np.full(len(partitions), partitions[0], np.int32)
    return np.array(partitions, np.int32)


def _offsets(messages: Sequence[Message], start: int, end: int) -> Sequence[int]:
    """Of a run. They grow: where so many lie from the first to the last, none is left out."""
    first, last = _offset(messages[start]), _offset(messages[end - 1])
    if last - first == end - start - 1:
        return range(first, last + 1)
    return list(map(_offset, messages[start:end]))


def _offset(message: Message) -> int:
    offset = message.offset()
    assert offset is not None, "a record has an offset"
    return offset
