"""One batch, from Kafka's bytes to anomalies and audit records. Pure: touches no client."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import Malformed
from contract.telemetry import SIGNALS, Decoder, Floats
from scorer.memory import Mask, Memory
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
    """n records as Kafka gave them; `spans`: partition to the first and the last offset in the batch."""

    values: Sequence[bytes | None]
    keys: Sequence[bytes | None]
    partitions: NDArray[np.int32]
    spans: dict[int, tuple[int, int]]

    @classmethod
    def of(cls, messages: Sequence[Any]) -> "Batch":
        """From at least one confluent_kafka message, none of them an error."""
        count = len(messages)
        partitions = np.fromiter([m.partition() for m in messages], np.int32, count)
        rows = np.arange(count)
        first, last = np.full(partitions.max() + 1, -1), np.empty(partitions.max() + 1, np.intp)
        last[partitions] = rows  # of several rows the last one stays
        first[partitions[::-1]] = rows[::-1]
        spans = {
            partition: (messages[first[partition]].offset(), messages[last[partition]].offset())
            for partition in np.flatnonzero(first >= 0).tolist()
        }
        return cls([m.value() for m in messages], [m.key() for m in messages], partitions, spans)


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
                    "car_id": keys[row].decode(errors="replace"),
                    "seq": int(decoded.seq[row]),
                    "sampled_at": int(decoded.sampled_at_ms[row]),
                    "scored_at": now_ms,
                    "score": float(scores[hit]),
                    "threshold": float(model.threshold),
                    "model_version": model.manifest.version,
                    "signals": named_signals(contributions[hit], signals[hit]),
                }
            )
    stamp = {"model_version": model.manifest.version, "scored_at": now_ms, "scorer": scorer}
    return Scored(
        anomalies,
        [record | stamp for record in audits(batch, rows, fresh, late)],
        decoded.rejected,
        {partition: last + 1 for partition, (_, last) in batch.spans.items()},
        scored=int(fresh.sum()),
        duplicates=int((~fresh).sum()),
        late=int(late.sum()),
        oldest_sample_ms=int(decoded.sampled_at_ms[fresh].min()) if fresh.any() else now_ms,
    )


def audits(batch: Batch, rows: NDArray[np.intp], fresh: Mask, late: Mask) -> list[dict[str, int]]:
    """What was done with each partition's records; `rows` (m,) are the sound ones, fresh and late (m,)."""
    size = max(batch.spans) + 1
    of_sound = batch.partitions[rows]
    total = np.bincount(batch.partitions, minlength=size)
    sound = np.bincount(of_sound, minlength=size)
    scored = np.bincount(of_sound[fresh], minlength=size)
    behind = np.bincount(of_sound[late], minlength=size)
    return [
        {
            "partition": partition,
            "first_offset": first,
            "last_offset": last,
            "scored": int(scored[partition]),
            "duplicates": int(sound[partition] - scored[partition]),
            "late": int(behind[partition]),
            "rejected": int(total[partition] - sound[partition]),
        }
        for partition, (first, last) in batch.spans.items()
    ]


def named_signals(contribution: Floats, values: Floats) -> list[dict[str, Any]]:
    """The signals that make a score, largest share first; contribution and values are (18,).

    Where contributions are no numbers, their signals in equal shares; if values are none either, only theirs.
    """
    shares = np.abs(contribution.astype(np.float64))
    if (odd := ~np.isfinite(shares)).any():
        sent = odd & ~np.isfinite(values)
        shares = (sent if sent.any() else odd).astype(np.float64)
    shares = shares / max(float(shares.sum()), 1e-12)
    return [
        {"name": SIGNALS[i], "share": float(shares[i]), "value": float(values[i])}
        for i in np.argsort(-shares, kind="stable")[:NAMED_SIGNALS_MAX]
        if shares[i] > 0
    ]
