"""One batch, from Kafka's bytes to anomalies, alerts and audit records. Pure: touches no client."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract import anomaly
from contract.errors import Malformed
from contract.joined import Joined
from contract.telemetry import Decoded, Decoder
from scorer.batch import Batch
from scorer.cars import Mask
from scorer.detector import Detections, Detector, Turn
from scorer.shares import largest, named


@dataclass(frozen=True)
class Scored:
    """What a batch came to.

    `anomalies`: key and value; `rejected`: row in the batch and why; `next_offsets`: by partition.
    """

    anomalies: list[tuple[bytes, bytes]]
    alerts: list[dict[str, Any]]
    audits: list[dict[str, Any]]
    rejected: list[tuple[int, Malformed]]
    next_offsets: dict[int, int]
    scored: int
    duplicates: int
    late: int
    oldest_sample_ms: int


def score(batch: Batch, decoder: Decoder, detector: Detector, *, now_ms: int, scorer: str) -> Scored:
    """Decode, leave out what was seen before, score the rest. `now_ms` stamps the results."""
    decoded = decoder.decode_joined(batch.values, batch.keys)
    rows = decoded.rows
    keys = batch.keys if len(rows) == len(batch) else batch.keys.take(rows.tolist())
    by_car, fresh, late = detector.sift(keys, batch.partitions[rows], decoded.seq)
    found, turns = detector.detect(by_car, fresh, late, decoded)
    # While a hand-over goes on an older model scores some of them; anomalies say which.
    version = detector.generations.newest.version
    stamp = {"model_version": version, "scored_at": now_ms, "scorer": scorer}
    scored = int(np.count_nonzero(fresh))
    return Scored(
        anomalies(keys, decoded, found, now_ms),
        alerts(keys, decoded, turns, now_ms),
        [audit | stamp for audit in audits(batch, rows, fresh, late)],
        decoded.rejected,
        {partition: last + 1 for partition, (_, last) in batch.spans.items()},
        scored=scored,
        duplicates=len(fresh) - scored,
        late=int(np.count_nonzero(late)),
        oldest_sample_ms=int(decoded.sampled_at_ms[fresh].min()) if scored else now_ms,
    )


def anomalies(keys: Joined, of: Decoded, found: Detections, now_ms: int) -> list[tuple[bytes, bytes]]:
    """Keys and records of what was found among m decoded ones with their keys."""
    rows = found.rows
    if not len(rows):
        return []
    cars = [_text(keys[row]) for row in rows.tolist()]
    signals, shares, values = largest(found.shares, of.signals[rows])
    encoded = anomaly.encode(
        cars,
        seq=of.seq[rows],
        sampled_at_ms=of.sampled_at_ms[rows],
        scored_at_ms=now_ms,
        score=found.scores,
        threshold=np.array([manifest.threshold for manifest in found.manifests], np.float32),
        versions=[manifest.version for manifest in found.manifests],
        signals=signals,
        shares=shares.astype(np.float32),
        values=values,
    )
    return list(zip(cars, encoded, strict=True))


def _text(key: bytes) -> bytes:
    """As UTF-8, whatever it is."""
    return key if key.isascii() else key.decode(errors="replace").encode()


def alerts(keys: Joined, of: Decoded, turns: Sequence[Turn], now_ms: int) -> list[dict[str, Any]]:
    """The records of alerts that open or close."""
    return [
        {
            "car_id": keys[turn.row].decode(errors="replace"),
            "alert_id": turn.alert.id(keys[turn.row]),
            "action": "closed" if turn.shares is None else "opened",
            "opened_at": turn.alert.opened_at,
            "at": int(of.sampled_at_ms[turn.row]),
            "level": turn.level,
            "threshold": turn.manifest.threshold,
            "component": turn.alert.component,
            "confidence": turn.alert.confidence,
            "signals": [] if turn.shares is None else named(turn.shares, of.signals[turn.row]),
            "model_version": turn.manifest.version,
            "scored_at": now_ms,
        }
        for turn in turns
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
