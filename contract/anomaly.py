"""Anomalies as records, many at once: a fifth of what a general Avro writer takes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contract.framing import confluent_header
from contract.schema import latest
from contract.telemetry import SEQ_BYTES_MAX, SIGNALS, STAMP_BYTES, Floats
from contract.varints import Longs, packed, padded, string, varint

_NAMES = [string(name.encode()) for name in SIGNALS]
_END = b"\x00"
_FLOATS_BYTES = 8


def encode(
    cars: Sequence[bytes],
    *,
    seq: Longs,
    sampled_at_ms: Longs,
    scored_at_ms: int,
    score: Floats,
    threshold: Floats,
    versions: Sequence[int],
    signals: NDArray[np.intp],
    shares: Floats,
    values: Floats,
) -> list[bytes]:
    """The framed records of n anomalies; `cars` are UTF-8.

    signals, shares and values (n, k): the places in SIGNALS of those that make the score, largest share
    first; what has no share is left out. All others (n,), as in the schema.
    """
    if not len(cars):
        return []
    numbers, sizes = packed(seq, SEQ_BYTES_MAX)
    scored = padded(np.array([scored_at_ms]), STAMP_BYTES)
    floats = np.stack([score, threshold], axis=1).astype("<f4").view(np.uint8)
    stamps = padded(sampled_at_ms, STAMP_BYTES), np.repeat(scored, len(seq), axis=0)
    block = np.concatenate([numbers, *stamps, floats], axis=1)
    data, width = block.tobytes(), block.shape[1]
    starts = (np.arange(len(seq)) * width + SEQ_BYTES_MAX - sizes).tolist()
    pairs = np.stack([shares, values], axis=2).astype("<f4").tobytes()
    counts, most = (shares > 0).sum(axis=1).tolist(), signals.shape[1]
    version_bytes = {version: varint(version) for version in set(versions)}
    head = confluent_header(latest("anomaly").schema_id)
    records = []
    for row, (car, names) in enumerate(zip(cars, signals.tolist(), strict=True)):
        parts = [head, string(car), data[starts[row] : (row + 1) * width], version_bytes[versions[row]]]
        if count := counts[row]:
            parts.append(varint(count))
            at = _FLOATS_BYTES * most * row
            for place in names[:count]:
                parts += (_NAMES[place], pairs[at : at + _FLOATS_BYTES])
                at += _FLOATS_BYTES
        parts.append(_END)
        records.append(b"".join(parts))
    return records
