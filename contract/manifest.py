"""The model record: a TFLite graph and the manifest that proves where it comes from and what it must say.

As JSON the manifest carries `null` where a number is not finite (a missing signal, a broken score), because
JSON knows no NaN; in our hands it is NaN again.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Self

from contract import records
from contract.alert_rule import AlertRule
from contract.errors import Malformed
from contract.fields import Reader, exactly, listed, number, read, record
from contract.golden import Golden
from contract.hypotheses import Hypotheses
from contract.state_layout import StateLayout
from contract.telemetry import SIGNALS

MANIFEST_VERSION = 2
# Far under Kafka's 1 MB for a message; a dense model takes 10 to 100 KB.
TFLITE_BYTES_MAX = 512 * 1024
# Golden vectors are most of it; with the graph and Kafka's overhead still under 1 MB.
MANIFEST_BYTES_MAX = 384 * 1024
# Reference values of a signal for drift: its quantiles 0, 0.1, ... 1 in the training data.
QUANTILES = tuple(i / 10 for i in range(11))

Offsets = Mapping[str, Mapping[int, tuple[int, int]]]


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
    units of the score: an anomaly is `not (score <= threshold)`; with the rule `alert` it was set so that
    healthy cars raise `false_alarms_per_car_week`. `components`: of each the signals that speak of it, the
    more particular one first; `hypotheses`: how a state tells them apart. `state` is None for a graph
    without; then, and in manifests of before they were known, `hypotheses` is None too. `metrics` has the
    keys candidate, champion and baselines. `reference_quantiles`: per signal its values at QUANTILES.
    """

    name: str
    version: int
    parent: int | None
    created_at: str
    git_revision: str
    signals: tuple[str, ...]
    schema_fingerprint: str
    threshold: float
    false_alarms_per_car_week: float
    alert: AlertRule
    components: Mapping[str, tuple[str, ...]]
    state: StateLayout | None
    training_offsets: Offsets
    validation_offsets: Offsets
    seed: int
    metrics: Mapping[str, Any]
    reference_quantiles: Mapping[str, tuple[float, ...]]
    golden: Golden
    tflite_sha256: str
    tflite_bytes: int
    decision: Decision
    hypotheses: Hypotheses | None = None
    manifest_version: int = field(default=MANIFEST_VERSION)

    def to_json(self, indent: int | None = None) -> str:
        """The manifest as JSON, values that are not finite as null."""
        return json.dumps(_plain(self), indent=indent, allow_nan=False)

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
        values = read(cls, _READERS, {"hypotheses": None} | document)
        state, hypotheses = values["state"], values["hypotheses"]
        if hypotheses is not None and (state is None or max(hypotheses.columns) >= state.width):
            raise Malformed("malformed_manifest", "hypotheses: of columns that the state does not have")
        return cls(**values)


def sha256(tflite: bytes) -> str:
    """The checksum as the manifest carries it."""
    return hashlib.sha256(tflite).hexdigest()


def pack(manifest: Manifest, tflite: bytes) -> bytes:
    """The framed `model` record. Raises Malformed (`too_large`, `bad_checksum`) for what `unpack` refuses."""
    _check_graph(manifest, tflite)
    text = manifest.to_json()
    if len(text) > MANIFEST_BYTES_MAX:
        raise Malformed("too_large", f"{len(text)} bytes of manifest, at most {MANIFEST_BYTES_MAX}")
    fields = {"name": manifest.name, "version": manifest.version, "manifest": text, "tflite": tflite}
    return records.encode("model", fields)


def unpack(value: bytes) -> tuple[Manifest, bytes]:
    """(manifest, TFLite graph) of a framed `model` record, its checksum and its signals verified.

    Raises Malformed: `bad_frame`, `unknown_schema`, `malformed_record`, `unknown_manifest_version`,
    `malformed_manifest`, `other_signals`, `too_large` or `bad_checksum`. Whether the graph computes what it
    should is for the process that runs it: `Golden.differences`.
    """
    name, found = records.decode(value)
    if name != "model":
        raise Malformed("unknown_schema", f"a record of the schema {name}, not model")
    manifest, tflite = Manifest.from_json(found["manifest"]), found["tflite"]
    if (found["name"], found["version"]) != (manifest.name, manifest.version):
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


def _plain(node: Any) -> Any:
    if isinstance(node, float):
        return node if math.isfinite(node) else None
    if is_dataclass(node):  # `asdict` copies every number of the golden vectors, deeply
        return {each.name: _plain(getattr(node, each.name)) for each in fields(node)}
    if isinstance(node, Mapping):
        return {key: _plain(value) for key, value in node.items()}
    return [_plain(item) for item in node] if isinstance(node, list | tuple) else node


def _offsets(value: Any) -> Offsets:
    bounds = listed(exactly(int), 2)  # [first, next]
    return {
        topic: {int(partition): bounds(pair) for partition, pair in partitions.items()}
        for topic, partitions in value.items()
    }


def _quantiles(value: Any) -> Mapping[str, tuple[float, ...]]:
    values = listed(number, len(QUANTILES))
    return {name: values(found) for name, found in value.items()}


def _golden(value: Any) -> Golden:
    row = listed(number, len(SIGNALS))
    readers = {
        "signals": listed(listed(row)),
        "state": listed(listed(number)),
        "score": listed(listed(number)),
        "contribution": listed(listed(row)),
        "state_after": listed(listed(number)),
    }
    golden: Golden = record(Golden, readers)(value)
    if not len(golden.signals) == len(golden.score) == len(golden.contribution):
        raise ValueError("signals, score and contribution must have as many samples")
    samples = (*golden.signals, golden.state, *golden.score, *golden.contribution, golden.state_after)
    if {len(cars) for cars in samples} != {len(golden.state)}:
        raise ValueError("every sample and both states must have as many cars")
    if len({len(state) for state in (*golden.state, *golden.state_after)}) > 1:
        raise ValueError("every state must have as many values")
    return golden


def _state(value: Any) -> StateLayout | None:
    columns = listed(exactly(int), 2)
    readers = {
        "width": exactly(int),
        "learning_samples": exactly(int),
        "memory_samples": number,
        "sample_interval_s": number,
        "baseline": columns,
        "deviation": columns,
        "units": exactly(str),
    }
    layout: StateLayout | None = None if value is None else record(StateLayout, readers)(value)
    return layout


def _hypotheses(value: Any) -> Hypotheses | None:
    rows = listed(listed(number))
    readers = {
        "columns": listed(exactly(int)),
        "usual": listed(number),
        "norm": rows,
        "directions": lambda found: {name: rows(directions) for name, directions in found.items()},
    }
    found: Hypotheses | None = None if value is None else record(Hypotheses, readers)(value)
    return found


_strings = listed(exactly(str))


_READERS: Mapping[str, Reader] = {
    "name": exactly(str),
    "version": exactly(int),
    "parent": lambda value: None if value is None else exactly(int)(value),
    "created_at": exactly(str),
    "git_revision": exactly(str),
    "signals": _strings,
    "schema_fingerprint": exactly(str),
    "threshold": number,
    "false_alarms_per_car_week": number,
    "alert": record(AlertRule, {"smoothing": number, "close_ratio": number}),
    "components": lambda value: {name: _strings(signals) for name, signals in value.items()},
    "hypotheses": _hypotheses,
    "state": _state,
    "training_offsets": _offsets,
    "validation_offsets": _offsets,
    "seed": exactly(int),
    "metrics": exactly(dict),
    "reference_quantiles": _quantiles,
    "golden": _golden,
    "tflite_sha256": exactly(str),
    "tflite_bytes": exactly(int),
    "decision": record(Decision, {"published": exactly(bool), "reasons": _strings}),
    "manifest_version": exactly(int),
}
