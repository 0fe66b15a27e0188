"""Records of any schema put together many at once: what differs between them as columns of bytes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contract.bounds import SEQ_BYTES_MAX, STAMP_BYTES
from contract.varints import Longs, packed, padded

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_GROWS_AT_MS = 2**41  # in September 2039; from then on a time has a byte more


def assemble(prefixes: Sequence[bytes], seq: Longs, sampled_at_ms: Longs, *blocks: Bytes) -> list[bytes]:
    """The n records of any schema in which seq and sampled_at follow the prefix, then a row of each block.

    seq and sampled_at_ms (n,) within the bounds of contract/bounds.py; blocks (n, bytes), or (1, bytes) for
    what is the same in all records.
    """
    numbers, sizes = packed(seq, SEQ_BYTES_MAX)
    columns = (numbers, stamps(sampled_at_ms), *blocks)
    width, begin = sum(each.shape[1] for each in columns), 0
    rows = np.empty((len(seq), width), np.uint8)
    for column in columns:
        rows[:, begin : begin + column.shape[1]] = column
        begin += column.shape[1]
    data = rows.tobytes()
    starts = (np.arange(len(seq)) * width + SEQ_BYTES_MAX - sizes).tolist()
    ends = range(width, len(data) + 1, width)
    return [head + data[start:end] for head, start, end in zip(prefixes, starts, ends, strict=True)]


def stamps(times_ms: Longs) -> Bytes:
    """The varints (n, 6 or 7) of n times. Before 1970-07 and beside times after 2039-09 they are padded."""
    return padded(times_ms, STAMP_BYTES if times_ms.max(initial=0) < _GROWS_AT_MS else STAMP_BYTES + 1)


def floats(values: Floats) -> Bytes:
    """The bytes (n, 4 k) of floats (n, k), as Avro has them."""
    return np.ascontiguousarray(values, "<f4").view(np.uint8)
