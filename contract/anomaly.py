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
_COUNTS = [varint(count) for count in range(len(SIGNALS) + 1)]
# What stands between car_id and model_version.
_NUMBERS = np.dtype(
    [
        ("seq", np.uint8, SEQ_BYTES_MAX),
        ("sampled_at", np.uint8, STAMP_BYTES),
        ("scored_at", np.uint8, STAMP_BYTES),
        ("score", "<f4"),
        ("threshold", "<f4"),
    ]
)


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
    block = np.empty(len(cars), _NUMBERS)
    block["seq"], sizes = packed(seq, SEQ_BYTES_MAX)
    block["sampled_at"] = padded(sampled_at_ms, STAMP_BYTES)
    block["scored_at"] = padded(np.array([scored_at_ms]), STAMP_BYTES)
    block["score"], block["threshold"] = score, threshold
    data, width = block.tobytes(), block.itemsize
    starts = (np.arange(len(cars)) * width + SEQ_BYTES_MAX - sizes).tolist()
    most = signals.shape[1]
    pairs = np.empty((len(cars), most, 2), "<f4")
    pairs[..., 0], pairs[..., 1] = shares, values
    floats, counts = pairs.tobytes(), np.count_nonzero(shares > 0, axis=1).tolist()
    version_bytes = {version: varint(version) for version in set(versions)}
    head = confluent_header(latest("anomaly").schema_id)
    records = []
    for row, (car, names) in enumerate(zip(cars, signals.tolist(), strict=True)):
        parts = [head, string(car), data[starts[row] : (row + 1) * width], version_bytes[versions[row]]]
        if count := counts[row]:
            parts.append(_COUNTS[count])
            at = _FLOATS_BYTES * most * row
            for place in names[:count]:
                parts += (_NAMES[place], floats[at : at + _FLOATS_BYTES])
                at += _FLOATS_BYTES
        parts.append(_END)
        records.append(b"".join(parts))
    return records
