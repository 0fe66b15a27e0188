"""A batch of Kafka records in arrays, without the client's message objects.

A message is four Python objects of 400 bytes together. A batch of them does not fit into the processor's
cache, so they are unpacked and freed a piece at a time (`PIECE_RECORDS`), which takes a tenth less CPU.
"""

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


@dataclass(frozen=True)
class Batch:
    """n records in order of arrival."""

    keys: Joined
    values: Joined
    partitions: NDArray[np.int32]  # (n,)
    offsets: NDArray[np.int64]  # (n,) ascending in each partition

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(cls, messages: Sequence[Message], keys: Sequence[bytes | None]) -> "Batch":
        """From at least one message, none of which is an error, and their keys."""
        # `map` calls a method of a C class without a Python frame, in a third of the time of a loop.
        numbers = list(map(Message.partition, messages))
        if numbers.count(numbers[0]) == len(numbers):  # usual while catching up, and needs no conversion
            partitions = np.full(len(numbers), numbers[0], np.int32)
        else:
            partitions = np.array(numbers, np.int32)
        # A client that catches up reads one partition after another, so the runs are few and long.
        starts = [0, *(np.flatnonzero(partitions[1:] != partitions[:-1]) + 1).tolist()]
        ends = [*starts[1:], len(messages)]
        firsts = [messages[start].offset() or 0 for start in starts]
        offsets = np.arange(len(messages)) + np.repeat(np.subtract(firsts, starts), np.subtract(ends, starts))
        for first, start, end in zip(firsts, starts, ends, strict=True):
            if messages[end - 1].offset() != first + end - start - 1:  # they ascend, so some are missing
                offsets[start:end] = np.array(list(map(Message.offset, messages[start:end])), np.int64)
        return cls(Joined.of(keys), Joined.of(list(map(Message.value, messages))), partitions, offsets)

    @classmethod
    def joined(cls, pieces: Sequence["Batch"]) -> "Batch":
        """The records of at least one piece, one piece after another."""
        if len(pieces) == 1:
            return pieces[0]
        return cls(
            Joined.behind_each_other([piece.keys for piece in pieces]),
            Joined.behind_each_other([piece.values for piece in pieces]),
            np.concatenate([piece.partitions for piece in pieces]),
            np.concatenate([piece.offsets for piece in pieces]),
        )

    def only(self, partitions: Collection[int]) -> "Batch":
        """The batch without the records of other partitions."""
        rows = np.flatnonzero(np.isin(self.partitions, list(partitions)))
        if len(rows) == len(self):
            return self
        kept = rows.tolist()
        return Batch(self.keys.take(kept), self.values.take(kept), self.partitions[rows], self.offsets[rows])

    @cached_property
    def spans(self) -> dict[int, tuple[int, int]]:
        """Partition to (first offset, last offset) in the batch."""
        bounds = np.full((2, int(self.partitions.max()) + 1), -1)
        bounds[0, self.partitions[::-1]] = self.offsets[::-1]  # of several the one assigned last stays
        bounds[1, self.partitions] = self.offsets
        pairs = bounds.T.tolist()
        return {partition: (first, last) for partition, (first, last) in enumerate(pairs) if last >= 0}

    def record(self, row: int) -> Record:
        """The record in a row."""
        partition, offset = int(self.partitions[row]), int(self.offsets[row])
        return Record(partition, offset, self.keys[row] or None, self.values[row])
