"""One batch, from Kafka's bytes to anomalies and audit records. Pure: touches no client."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import Malformed
from contract.telemetry import SIGNALS, Decoder, Floats
from scorer.memory import Memory
from scorer.model import Model

NAMED_SIGNALS_MAX = 3


@dataclass(frozen=True)
class Scored:
    """What a batch came to. `rejected`: row in the batch and why; `next_offsets`: by partition."""

    anomalies: list[dict[str, Any]]
    audits: list[dict[str, Any]]
    rejected: list[tuple[int, Malformed]]
    next_offsets: dict[int, int]
    scored: int
    duplicates: int
    late: int
    oldest_sample_ms: int


@dataclass(frozen=True)
class Batch:
    """n records as Kafka gave them; partitions and offsets are (n,)."""

    values: Sequence[bytes | None]
    keys: Sequence[bytes | None]
    partitions: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, messages: Sequence[Any]) -> "Batch":
        """From confluent_kafka messages without errors."""
        return cls(
            [m.value() for m in messages],
            [m.key() for m in messages],
            np.array([m.partition() for m in messages], np.int32),
            np.array([m.offset() for m in messages], np.int64),
        )


def score(
    batch: Batch, decoder: Decoder, memory: Memory, model: Model, *, now_ms: int, scorer: str
) -> Scored:
    """Decode, leave out what was seen before, score the rest. `now_ms` stamps the results."""
    decoded = decoder.decode(batch.values, batch.keys)
    rows = decoded.rows
    keys: Sequence[Any] = batch.keys if len(rows) == len(batch.keys) else [batch.keys[row] for row in rows]
    partitions = batch.partitions[rows]
    fresh, late = memory.sift(keys, partitions, decoded.seq)
    signals = decoded.signals if fresh.all() else decoded.signals[fresh]
    anomalies: list[dict[str, Any]] = []
    if len(signals):
        scores, contributions = model.score(signals)
        # Also a score that is no number: such a record is far from anything that was learnt.
        hits = np.nonzero(~(scores <= model.threshold))[0]
        for hit, row in zip(hits, np.nonzero(fresh)[0][hits].tolist(), strict=True):
            anomalies.append(
                {
                    "car_id": keys[row].decode(),
                    "seq": int(decoded.seq[row]),
                    "sampled_at": int(decoded.sampled_at_ms[row]),
                    "scored_at": now_ms,
                    "score": float(scores[hit]),
                    "threshold": float(model.threshold),
                    "model_version": model.manifest.version,
                    "signals": named_signals(contributions[hit], signals[hit]),
                }
            )
    common = {"late": late, "model_version": model.manifest.version, "scored_at": now_ms, "scorer": scorer}
    audits = audit(batch, rows, fresh, common)
    return Scored(
        anomalies,
        audits,
        decoded.rejected,
        {record["partition"]: record["last_offset"] + 1 for record in audits},
        scored=int(fresh.sum()),
        duplicates=int((~fresh).sum()),
        late=late,
        oldest_sample_ms=int(decoded.sampled_at_ms[fresh].min()) if fresh.any() else now_ms,
    )


def audit(
    batch: Batch, rows: NDArray[np.intp], fresh: NDArray[np.bool_], common: dict[str, Any]
) -> list[dict[str, Any]]:
    """One record a partition. `late` is counted for the batch and stands in its first record."""
    partitions, first = np.unique(batch.partitions, return_index=True)
    last = len(batch.partitions) - 1 - np.unique(batch.partitions[::-1], return_index=True)[1]
    size = int(partitions[-1]) + 1
    total = np.bincount(batch.partitions, minlength=size)
    sound = np.bincount(batch.partitions[rows], minlength=size)
    scored = np.bincount(batch.partitions[rows[fresh]], minlength=size)
    records = [
        common
        | {
            "partition": int(partition),
            "first_offset": int(batch.offsets[begin]),
            "last_offset": int(batch.offsets[end]),
            "scored": int(scored[partition]),
            "duplicates": int(sound[partition] - scored[partition]),
            "rejected": int(total[partition] - sound[partition]),
        }
        for partition, begin, end in zip(partitions, first, last, strict=True)
    ]
    for record in records[1:]:
        record["late"] = 0
    return records


def named_signals(contribution: Floats, values: Floats) -> list[dict[str, Any]]:
    """The signals that make a score, largest share first; contribution and values are (18,).

    Where the score is no number, those whose value is none, in equal shares.
    """
    shares = np.abs(contribution.astype(np.float64))
    if not np.isfinite(shares).all():
        shares = (~np.isfinite(values) | ~np.isfinite(contribution)).astype(np.float64)
    shares = shares / max(float(shares.sum()), 1e-12)
    return [
        {"name": SIGNALS[i], "share": float(shares[i]), "value": float(values[i])}
        for i in np.argsort(-shares, kind="stable")[:NAMED_SIGNALS_MAX]
        if shares[i] > 0
    ]
