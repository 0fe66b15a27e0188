"""Anomaly records, encoded many at once in a fifth of the time of a general Avro writer."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contract.assembly import Floats, assemble, floats, stamps
from contract.records import confluent_header
from contract.schema import latest
from contract.telemetry import SIGNALS
from contract.varints import Longs, string, varint

_NAMES = [string(name.encode()) for name in SIGNALS]
_END = b"\x00"
_PAIR_BYTES = 8  # a share and a value
_COUNTS = [varint(count) for count in range(len(SIGNALS) + 1)]


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
    head = confluent_header(latest("anomaly").schema_id)
    scored_at = stamps(np.array([scored_at_ms]))
    numbers = scored_at, floats(score[:, None]), floats(threshold[:, None])
    begun = assemble([head + string(car) for car in cars], seq, sampled_at_ms, *numbers)
    pairs, most = floats(np.stack([shares, values], axis=2)).tobytes(), signals.shape[1]
    counts = np.count_nonzero(shares > 0, axis=1).tolist()
    version_bytes = {version: varint(version) for version in set(versions)}
    records = []
    for row, (begin, columns) in enumerate(zip(begun, signals.tolist(), strict=True)):
        parts = [begin, version_bytes[versions[row]]]
        if count := counts[row]:
            parts.append(_COUNTS[count])
            offset = _PAIR_BYTES * most * row
            for column in columns[:count]:
                parts += (_NAMES[column], pairs[offset : offset + _PAIR_BYTES])
                offset += _PAIR_BYTES
        parts.append(_END)
        records.append(b"".join(parts))
    return records
