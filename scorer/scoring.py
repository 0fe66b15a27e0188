"""One batch, from Kafka's bytes to anomalies, alerts and audit records. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract import anomaly
from contract.bounds import latest_ms
from contract.errors import Malformed
from contract.joined import Joined
from contract.telemetry import Decoded, Decoder
from scorer.batch import Batch, Record
from scorer.detector import AnomalyDetector
from scorer.findings import Detections
from scorer.seen import Sifted
from scorer.shares import largest
from scorer.source import Source


@dataclass(frozen=True)
class Scored:
    """The results of a batch."""

    anomalies: Sequence[tuple[bytes, bytes]] = ()  # key and value
    alerts: Sequence[Mapping[str, Any]] = ()  # records of the schema alert
    unseen: Sequence[Mapping[str, Any]] = ()  # likewise, of a trial: evidence that is shown to nobody
    rejected: Sequence[tuple[Malformed, Record]] = ()
    audits: Sequence[Mapping[str, Any]] = ()  # records of the schema audit, one a partition
    oldest_sample_ms: int = 0  # time of the oldest scored sample, ms since 1970, at most `now_ms`


def score(
    batch: Batch,
    decoder: Decoder,
    detector: AnomalyDetector,
    *,
    now_ms: int,
    scorer: str,
    source: Source,
) -> Scored:
    """Decode, leave out what was seen before, score the rest.

    `now_ms` is the time stamp of the results, `scorer` the replica's name in them, `source` whose log it is.
    """
    decoded = decoder.decode_joined(batch.values, batch.keys, latest_ms(now_ms))
    rows = decoded.rows
    keys = batch.keys if len(rows) == len(batch) else batch.keys.take(rows.tolist())
    by_car, sifted = detector.sift(keys, batch.partitions[rows], decoded)
    rejected = [(error, batch.record(row)) for row, error in decoded.rejected]
    for row in np.flatnonzero(sifted.impossible).tolist():
        error = _impossible(
            decoded.seq[row], decoded.sampled_at_ms[row], *detector.seen.last(by_car.cars[row])
        )
        rejected.append((error, batch.record(rows[row])))
    detections, alerts, unseen = detector.detect(by_car, sifted, decoded)
    # During a hand-over an older model scores some of the records; their anomalies have its version.
    version = detector.generations.newest.version
    stamp = {"model_version": version, "scored_at": now_ms, "scorer": scorer, **asdict(source)}
    return Scored(
        anomalies(keys, decoded, detections, now_ms),
        [alert | {"scored_at": now_ms} for alert in alerts],
        [alert | {"scored_at": now_ms} for alert in unseen],
        rejected,
        [audit | stamp for audit in audits(batch, rows, sifted)],
        oldest_sample_ms=int(decoded.sampled_at_ms[sifted.fresh].min(initial=now_ms)),
    )


def anomalies(
    keys: Joined, decoded: Decoded, detections: Detections, now_ms: int
) -> list[tuple[bytes, bytes]]:
    """Key and framed record of each detection among m decoded records with these keys."""
    rows = detections.rows
    if not len(rows):
        return []
    cars = [_as_utf8(keys[row]) for row in rows.tolist()]
    signals, shares, values = largest(detections.shares, decoded.signals[rows])
    encoded = anomaly.encode(
        cars,
        seq=decoded.seq[rows],
        sampled_at_ms=decoded.sampled_at_ms[rows],
        scored_at_ms=now_ms,
        score=detections.scores,
        threshold=np.array([manifest.threshold for manifest in detections.manifests], np.float32),
        versions=[manifest.version for manifest in detections.manifests],
        signals=signals,
        shares=shares.astype(np.float32),
        values=values,
    )
    return list(zip(cars, encoded, strict=True))


def _as_utf8(key: bytes) -> bytes:
    """The key with the replacement character for bytes that are not UTF-8."""
    return key if key.isascii() else key.decode(errors="replace").encode()


def _impossible(seq: int, sampled_at_ms: int, last_seq: int, last_ms: int) -> Malformed:
    detail = (
        f"seq {seq} sampled at {sampled_at_ms}: the car was at seq {last_seq} at {last_ms} (ms since 1970)"
    )
    return Malformed("impossible_seq", detail)


def audits(batch: Batch, rows: NDArray[np.intp], sifted: Sifted) -> list[dict[str, int]]:
    """The audit record of each partition; rows (m,): the rows of the decodable records."""
    size = max(batch.spans) + 1
    partitions = batch.partitions[rows]
    total = np.bincount(batch.partitions, minlength=size)
    decodable = np.bincount(partitions, minlength=size)
    scored = np.bincount(partitions[sifted.fresh], minlength=size)
    came_late = np.bincount(partitions[sifted.late], minlength=size)
    impossible = np.bincount(partitions[sifted.impossible], minlength=size)
    return [
        {
            "partition": partition,
            "first_offset": first,
            "last_offset": last,
            "scored": int(scored[partition]),
            "duplicates": int(decodable[partition] - scored[partition] - impossible[partition]),
            "late": int(came_late[partition]),
            "rejected": int(total[partition] - decodable[partition] + impossible[partition]),
        }
        for partition, (first, last) in batch.spans.items()
    ]
