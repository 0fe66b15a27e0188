"""One batch, from Kafka's bytes to anomalies and audit records. Pure: touches no client."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from contract.errors import Malformed
from contract.telemetry import SIGNALS, Decoded, Decoder, Floats
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

    messages: Sequence[Message]
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None]
    partitions: NDArray[np.int32]
    spans: dict[int, tuple[int, int]]

    @classmethod
    def of(cls, messages: Sequence[Message], keys: Sequence[bytes | None]) -> "Batch":
        """From at least one message, none of them an error, and their keys."""
        # `map` over a method of the class calls it without a frame of Python's: a third of a loop's cost.
        numbers: list[Any] = list(map(Message.partition, messages))
        partitions = np.array(numbers, np.int32)
        if numbers.count(numbers[0]) == len(numbers):  # a client that catches up reads one after another
            ends = {numbers[0]: (0, -1)}
        else:
            # Of several rows of a partition the last one stays: backwards that is its first.
            rows = range(len(numbers))
            last = dict(zip(numbers, rows, strict=True))
            first = dict(zip(reversed(numbers), reversed(rows), strict=True))
            ends = {partition: (first[partition], last[partition]) for partition in sorted(last)}
        spans = {p: (_offset(messages[first]), _offset(messages[last])) for p, (first, last) in ends.items()}
        return cls(messages, list(map(Message.value, messages)), keys, partitions, spans)


def _offset(message: Message) -> int:
    offset = message.offset()
    assert offset is not None, "a record has an offset"
    return offset


def score(
    batch: Batch, decoder: Decoder, memory: Memory, model: Model, *, now_ms: int, scorer: str
) -> Scored:
    """Decode, leave out what was seen before, score the rest. `now_ms` stamps the results."""
    decoded = decoder.decode(batch.values, batch.keys)
    rows = decoded.rows
    keys: Sequence[Any] = batch.keys if len(rows) == len(batch.keys) else [batch.keys[row] for row in rows]
    fresh, late = memory.sift(keys, batch.partitions[rows], decoded.seq)
    stamp = {"model_version": model.manifest.version, "scored_at": now_ms}
    return Scored(
        [anomaly | stamp for anomaly in _anomalies(keys, decoded, np.flatnonzero(fresh), model)],
        [audit | stamp | {"scorer": scorer} for audit in audits(batch, rows, fresh, late)],
        decoded.rejected,
        {partition: last + 1 for partition, (_, last) in batch.spans.items()},
        scored=int(fresh.sum()),
        duplicates=int((~fresh).sum()),
        late=int(late.sum()),
        oldest_sample_ms=int(decoded.sampled_at_ms[fresh].min()) if fresh.any() else now_ms,
    )


def _anomalies(
    keys: Sequence[bytes], decoded: Decoded, new: NDArray[np.intp], model: Model
) -> list[dict[str, Any]]:
    """Of the records in the places `new` (k,) of m decoded ones with their keys."""
    if not len(new):
        return []
    signals = decoded.signals if len(new) == len(keys) else decoded.signals[new]
    scores, contributions, _ = model.step(signals, np.empty((len(signals), 0), np.float32))
    # Also a score that is no number: such a record is far from anything that was learnt.
    hits = np.flatnonzero(~(scores <= model.threshold))
    rows = new[hits]
    columns = (rows, decoded.seq[rows], decoded.sampled_at_ms[rows], scores[hits])
    named = named_signals(contributions[hits], signals[hits])
    return [
        {
            "car_id": keys[row].decode(errors="replace"),
            "seq": seq,
            "sampled_at": sampled_at,
            "score": score,
            "threshold": float(model.threshold),
            "signals": shares,
        }
        for row, seq, sampled_at, score, shares in zip(*(c.tolist() for c in columns), named, strict=True)
    ]


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


def named_signals(contributions: Floats, values: Floats) -> list[list[dict[str, Any]]]:
    """The signals that make each score, largest share first; contributions and values are (k, 18).

    Where contributions are no numbers, their signals in equal shares; if values are none either, only theirs.
    """
    shares = np.abs(contributions.astype(np.float64))
    odd = ~np.isfinite(shares)
    sent = odd & ~np.isfinite(values)
    to_blame = np.where(sent.any(axis=1, keepdims=True), sent, odd)
    shares = np.where(odd.any(axis=1, keepdims=True), to_blame, shares)
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
    order = np.argsort(-shares, axis=1, kind="stable")[:, :NAMED_SIGNALS_MAX]
    largest = (order, np.take_along_axis(shares, order, axis=1), np.take_along_axis(values, order, axis=1))
    return [
        [
            {"name": SIGNALS[i], "share": share, "value": value}
            for i, share, value in zip(*row, strict=True)
            if share > 0
        ]
        for row in zip(*(column.tolist() for column in largest), strict=True)
    ]
