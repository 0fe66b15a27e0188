"""The model record: a TFLite graph and the manifest that proves where it comes from and what it must say.

As JSON the manifest carries `null` where a number is not finite (a missing signal, a broken score), because
JSON knows no NaN; in our hands it is NaN again.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from contract import records
from contract.errors import Malformed
from contract.telemetry import SIGNALS

MANIFEST_VERSION = 1
# Far under Kafka's 1 MB for a message; a dense model takes 10 to 100 KB.
TFLITE_BYTES_MAX = 512 * 1024
# Of a golden score or contribution, relative to max(1, |score|): float32 on another processor's kernels.
GOLDEN_TOLERANCE = 1e-5
# Reference values of a signal for drift: its quantiles 0, 0.1, ... 1 in the training data.
QUANTILES = tuple(i / 10 for i in range(11))

Offsets = Mapping[str, Mapping[int, tuple[int, int]]]
Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Golden:
    """Inputs with the outputs they must give: signals (k, 18), score (k,), contribution (k, 18)."""

    signals: Rows
    score: tuple[float, ...]
    contribution: Rows

    def differences(self, score: NDArray[np.float32], contribution: NDArray[np.float32]) -> list[str]:
        """What a run of the model on `signals` gives otherwise, in words; empty where all is as it must be.

        score (k,), contribution (k, 18). A value that is not finite is a difference, expected or not.
        """
        expected, parts = np.array(self.score), np.array(self.contribution)
        if score.shape != expected.shape or contribution.shape != parts.shape:
            return [f"outputs {score.shape} and {contribution.shape}, not {expected.shape} and {parts.shape}"]
        allowed = GOLDEN_TOLERANCE * np.maximum(1, np.abs(expected))
        wrong = ~(np.abs(score - expected) <= allowed)
        # Contributions have signs and may be larger than the score squared that they add up to.
        allowed = GOLDEN_TOLERANCE * np.maximum(1, np.abs(parts).max(axis=1, initial=0))
        wrong |= ~(np.abs(contribution - parts) <= allowed[:, None]).all(axis=1)
        return [f"golden vector {i}: score {score[i]}, expected {expected[i]}" for i in np.nonzero(wrong)[0]]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether the candidate was published, and why (not)."""

    published: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything needed to trust, compare, rebuild and roll back a model.

    `version` counts up from 1 over all candidates of `name`; `parent` is the champion the candidate was
    compared with. Offsets: {topic: {partition: (first, next)}} of the mirrored topics. `threshold` is in
    units of the score: an anomaly is `not (score <= threshold)`. `metrics` has the keys candidate, champion
    and baselines. `reference_quantiles`: per signal its values at QUANTILES.
    """

    name: str
    version: int
    parent: int | None
    created_at: str
    git_revision: str
    signals: tuple[str, ...]
    schema_fingerprint: str
    threshold: float
    training_offsets: Offsets
    validation_offsets: Offsets
    seed: int
    metrics: Mapping[str, Any]
    reference_quantiles: Mapping[str, tuple[float, ...]]
    golden: Golden
    tflite_sha256: str
    tflite_bytes: int
    decision: Decision
    manifest_version: int = field(default=MANIFEST_VERSION)

    def to_json(self, indent: int | None = None) -> str:
        """The manifest as JSON, values that are not finite as null."""
        return json.dumps(_finite(asdict(self)), indent=indent, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises Malformed: `unknown_manifest_version`, or `malformed_manifest` naming the fields."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Malformed("malformed_manifest", f"no JSON: {error}") from error
        if not isinstance(document, dict):
            raise Malformed("malformed_manifest", "no JSON object")
        version = document.get("manifest_version")
        if version != MANIFEST_VERSION:
            raise Malformed("unknown_manifest_version", f"{version!r}, this program reads {MANIFEST_VERSION}")
        return cls(**_read_fields(cls, _READERS, document))


def sha256(tflite: bytes) -> str:
    """The checksum as the manifest carries it."""
    return hashlib.sha256(tflite).hexdigest()


def pack(manifest: Manifest, tflite: bytes) -> bytes:
    """The framed `model` record. Raises Malformed (`too_large`, `bad_checksum`) for what `unpack` refuses."""
    _check_graph(manifest, tflite)
    record = {
        "name": manifest.name,
        "version": manifest.version,
        "manifest": manifest.to_json(),
        "tflite": tflite,
    }
    return records.encode("model", record)


def unpack(value: bytes) -> tuple[Manifest, bytes]:
    """(manifest, TFLite graph) of a framed `model` record, its checksum and its signals verified.

    Raises Malformed: `bad_frame`, `unknown_schema`, `malformed_record`, `unknown_manifest_version`,
    `malformed_manifest`, `other_signals`, `too_large` or `bad_checksum`. Whether the graph computes what it
    should is for the process that runs it: `Golden.differences`.
    """
    name, record = records.decode(value)
    if name != "model":
        raise Malformed("unknown_schema", f"a record of the schema {name}, not model")
    manifest, tflite = Manifest.from_json(record["manifest"]), record["tflite"]
    if (record["name"], record["version"]) != (manifest.name, manifest.version):
        raise Malformed("malformed_manifest", "name or version differ between record and manifest")
    if manifest.signals != SIGNALS:
        other = sorted(set(manifest.signals) ^ set(SIGNALS)) or ["their order"]
        raise Malformed("other_signals", f"not this program's signals: {', '.join(other)}")
    _check_graph(manifest, tflite)
    return manifest, tflite


def _check_graph(manifest: Manifest, tflite: bytes) -> None:
    if len(tflite) > TFLITE_BYTES_MAX:
        raise Malformed("too_large", f"{len(tflite)} bytes of TFLite, at most {TFLITE_BYTES_MAX}")
    if len(tflite) != manifest.tflite_bytes or sha256(tflite) != manifest.tflite_sha256:
        raise Malformed("bad_checksum", f"{len(tflite)} bytes of TFLite are not those of the manifest")


def _finite(node: Any) -> Any:
    if isinstance(node, float):
        return node if math.isfinite(node) else None
    if isinstance(node, Mapping):
        return {key: _finite(value) for key, value in node.items()}
    return [_finite(item) for item in node] if isinstance(node, list | tuple) else node


def _read_fields(
    cls: type, readers: Mapping[str, Callable[[Any], Any]], document: Mapping[str, Any]
) -> dict[str, Any]:
    """Each field read by its reader; raises Malformed naming what is missing, unknown or of a wrong type."""
    names = {item.name for item in fields(cls)}
    if missing := sorted(names - document.keys()):
        raise Malformed("malformed_manifest", f"missing: {', '.join(missing)}")
    if unknown := sorted(document.keys() - names):
        raise Malformed("malformed_manifest", f"unknown: {', '.join(unknown)}")
    values: dict[str, Any] = {}
    for name in names:
        try:
            values[name] = readers[name](document[name])
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise Malformed("malformed_manifest", f"{name}: {error}") from error
    return values


def _exactly(kind: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"{str(value)[:80]!r} is not of type {kind.__name__}")
        return value

    return read


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if type(value) not in {int, float}:
        raise TypeError(f"{str(value)[:80]!r} is no number")
    return float(value)


def _numbers(value: Sequence[Any]) -> tuple[float, ...]:
    return tuple(_number(item) for item in _exactly(list)(value))


def _rows(value: Any) -> Rows:
    rows = tuple(_numbers(row) for row in _exactly(list)(value))
    if any(len(row) != len(SIGNALS) for row in rows):
        raise ValueError(f"every row must have {len(SIGNALS)} values")
    return rows


def _offsets(value: Any) -> Offsets:
    whole = _exactly(int)
    offsets = {
        topic: {int(partition): tuple(map(whole, bounds)) for partition, bounds in partitions.items()}
        for topic, partitions in value.items()
    }
    if any(len(bounds) != 2 for per in offsets.values() for bounds in per.values()):
        raise ValueError("every partition must have [first, next]")
    return offsets


def _quantiles(value: Any) -> Mapping[str, tuple[float, ...]]:
    quantiles = {name: _numbers(values) for name, values in value.items()}
    if any(len(values) != len(QUANTILES) for values in quantiles.values()):
        raise ValueError(f"every signal must have {len(QUANTILES)} values")
    return quantiles


def _golden(value: Any) -> Golden:
    readers = {"signals": _rows, "score": _numbers, "contribution": _rows}
    golden = Golden(**_read_fields(Golden, readers, value))
    if not len(golden.signals) == len(golden.score) == len(golden.contribution):
        raise ValueError("signals, score and contribution must have as many rows")
    return golden


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(_exactly(str)(item) for item in _exactly(list)(value))


def _decision(value: Any) -> Decision:
    return Decision(**_read_fields(Decision, {"published": _exactly(bool), "reasons": _strings}, value))


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "name": _exactly(str),
    "version": _exactly(int),
    "parent": lambda value: None if value is None else _exactly(int)(value),
    "created_at": _exactly(str),
    "git_revision": _exactly(str),
    "signals": _strings,
    "schema_fingerprint": _exactly(str),
    "threshold": _number,
    "training_offsets": _offsets,
    "validation_offsets": _offsets,
    "seed": _exactly(int),
    "metrics": _exactly(dict),
    "reference_quantiles": _quantiles,
    "golden": _golden,
    "tflite_sha256": _exactly(str),
    "tflite_bytes": _exactly(int),
    "decision": _decision,
    "manifest_version": _exactly(int),
}
