"""Anomaly records, encoded many at once in a fifth of the time of a general Avro writer."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contract.records import confluent_header
from contract.schema import latest
from contract.telemetry import SEQ_BYTES_MAX, SIGNALS, STAMP_BYTES, Floats
from contract.varints import Longs, packed, padded, string, varint

_NAMES = [string(name.encode()) for name in SIGNALS]
_END = b"\x00"
_FLOATS_BYTES = 8
_COUNTS = [varint(count) for count in range(len(SIGNALS) + 1)]
# The fields between car_id and model_version.
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

    signals (n, k) are the columns in SIGNALS of the signals that make the score, largest share first; shares
    and values (n, k) belong to them. Signals without a share are left out. The others are (n,), as in the
    schema.
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
    for row, (car, columns) in enumerate(zip(cars, signals.tolist(), strict=True)):
        parts = [head, string(car), data[starts[row] : (row + 1) * width], version_bytes[versions[row]]]
        if count := counts[row]:
            parts.append(_COUNTS[count])
            offset = _FLOATS_BYTES * most * row
            for column in columns[:count]:
                parts += (_NAMES[column], floats[offset : offset + _FLOATS_BYTES])
                offset += _FLOATS_BYTES
        parts.append(_END)
        records.append(b"".join(parts))
    return records
