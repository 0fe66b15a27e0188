"""The model record: a TFLite graph and the manifest that proves its origin and its results.

JSON has no NaN: numbers that are not finite (a missing signal, a broken score) are written as `null` and read
back as NaN.
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
from contract.fields import read
from contract.golden import Golden
from contract.hypotheses import Hypotheses
from contract.state_layout import StateLayout
from contract.telemetry import SIGNALS

MANIFEST_VERSION = 2
# Well below Kafka's limit of 1 MB per message; a dense model takes 10 to 100 KB.
TFLITE_BYTES_MAX = 512 * 1024
# Most of it is golden vectors. Together with the graph and Kafka's overhead it stays below 1 MB.
MANIFEST_BYTES_MAX = 384 * 1024
# Levels of the reference quantiles that drift is measured against.
QUANTILES = tuple(i / 10 for i in range(11))

Offsets = Mapping[str, Mapping[int, tuple[int, int]]]  # topic: {partition: (first, next)}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether the candidate was published, and the reasons."""

    published: bool
    reasons: tuple[str, ...] = ()
    # Of a challenger, on trial beside the champion: the share of the cars, 0 to 1, that it may score.
    share: float | None = None  # None: no challenger, but the champion or a refused model
    held: bool = False  # of a challenger: only a person promotes it
    on_trial: float = 1.0  # of a challenger: the share of the cars that take part in its trial


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything needed to trust, compare, rebuild and roll back a model."""

    name: str
    version: int  # counts up from 1 over all candidates of `name`
    parent: int | None  # the champion that the candidate was compared with
    created_at: str
    git_revision: str
    signals: tuple[str, ...]  # the signals that the graph judges, in the order of its columns
    schema_fingerprint: str  # of the newest telemetry schema when the model was trained
    threshold: float  # in units of the score: an anomaly is `not (score <= threshold)`
    false_alarms_per_car_week: float  # rate in healthy cars at this threshold and alert rule
    alert: AlertRule
    components: Mapping[str, tuple[str, ...]]  # component: signals that show its faults, most specific first
    state: StateLayout | None  # None for a graph without state
    training_offsets: Offsets  # of the mirrored topics
    validation_offsets: Offsets
    seed: int
    metrics: Mapping[str, Any]  # with the keys candidate, champion and baselines
    reference_quantiles: Mapping[str, tuple[float, ...]]  # signal: its values at QUANTILES in training
    golden: Golden
    tflite_sha256: str
    tflite_bytes: int
    decision: Decision
    hypotheses: Hypotheses | None = None  # tells components apart by the state; None in old manifests
    manifest_version: int = field(default=MANIFEST_VERSION)

    def to_json(self, indent: int | None = None) -> str:
        """The manifest as JSON; numbers that are not finite become null."""
        document = _plain(self)
        # Programs of before there were trials refuse fields that they do not know.
        decision = {name: document["decision"][name] for name in ("published", "reasons")}
        document["decision"] = decision if self.decision.share is None else document["decision"]
        return json.dumps(document, indent=indent, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises Malformed: `unknown_manifest_version`, or `malformed_manifest` naming the fields."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Malformed("malformed_manifest", f"not JSON: {error}") from error
        if not isinstance(document, dict):
            raise Malformed("malformed_manifest", "not a JSON object")
        version = document.get("manifest_version")
        if version != MANIFEST_VERSION:
            raise Malformed("unknown_manifest_version", f"{version!r}, this program reads {MANIFEST_VERSION}")
        try:
            if isinstance(state := document.get("state"), dict):
                document["state"] = {"variance": None, "strange_variance": None} | state
            if isinstance(decision := document.get("decision"), dict):
                document["decision"] = {"share": None, "held": False, "on_trial": 1.0} | decision
            manifest = read(cls, {"hypotheses": None} | document)
            manifest._check()
        except ValueError as error:
            raise Malformed("malformed_manifest", str(error)) from error
        return manifest

    def _check(self) -> None:
        """Raises ValueError for fields that contradict each other."""
        if self.hypotheses and (self.state is None or max(self.hypotheses.columns) >= self.state.width):
            raise ValueError("hypotheses: columns that the state does not have")
        if not (self.decision.share is None or 0 <= self.decision.share <= 1):
            raise ValueError(f"decision: a share of {self.decision.share}, which must be 0 to 1")
        if not 0 < self.decision.on_trial <= 1:
            raise ValueError(
                f"decision: {self.decision.on_trial} of the cars on trial, which must be over 0 to 1"
            )
        if not self.signals or len(set(self.signals)) != len(self.signals):
            raise ValueError("signals must be at least one, and no signal twice")
        if wrong := self.golden.widths - {len(self.signals)}:
            raise ValueError(f"golden: rows of {wrong} values for {len(self.signals)} signals")
        if wrong := {len(values) for values in self.reference_quantiles.values()} - {len(QUANTILES)}:
            raise ValueError(f"reference_quantiles: {wrong} values for a signal, not {len(QUANTILES)}")


def sha256(tflite: bytes) -> str:
    """The checksum in the manifest's form."""
    return hashlib.sha256(tflite).hexdigest()


def pack(manifest: Manifest, tflite: bytes) -> bytes:
    """The framed `model` record. Raises Malformed: `too_large` or `bad_checksum`."""
    _check_graph(manifest, tflite)
    text = manifest.to_json()
    if len(text) > MANIFEST_BYTES_MAX:
        raise Malformed("too_large", f"the manifest has {len(text)} bytes, at most {MANIFEST_BYTES_MAX}")
    fields = {"name": manifest.name, "version": manifest.version, "manifest": text, "tflite": tflite}
    return records.encode("model", fields)


def unpack(value: bytes) -> tuple[Manifest, bytes]:
    """(manifest, TFLite graph) of a framed `model` record, with checksum and signals verified.

    Raises Malformed: `bad_frame`, `unknown_schema`, `malformed_record`, `unknown_manifest_version`,
    `malformed_manifest`, `other_signals`, `too_large` or `bad_checksum`. The process that runs the graph also
    checks its results (`Golden.differences`).
    """
    name, fields = records.decode(value)
    if name != "model":
        raise Malformed("unknown_schema", f"a record of the schema {name}, not model")
    manifest, tflite = Manifest.from_json(fields["manifest"]), fields["tflite"]
    if (fields["name"], fields["version"]) != (manifest.name, manifest.version):
        raise Malformed("malformed_manifest", "name or version differs between record and manifest")
    if unknown := [name for name in manifest.signals if name not in SIGNALS]:
        raise Malformed(
            "other_signals",
            f"the model judges {', '.join(unknown)}, which this program's telemetry schemas do not have: "
            "roll out this program with the newest schemas before the model",
        )
    _check_graph(manifest, tflite)
    return manifest, tflite


def _check_graph(manifest: Manifest, tflite: bytes) -> None:
    if len(tflite) > TFLITE_BYTES_MAX:
        raise Malformed("too_large", f"the TFLite graph has {len(tflite)} bytes, at most {TFLITE_BYTES_MAX}")
    if len(tflite) != manifest.tflite_bytes or sha256(tflite) != manifest.tflite_sha256:
        raise Malformed("bad_checksum", f"the {len(tflite)} bytes of the TFLite graph are not the manifest's")


def _plain(node: Any) -> Any:
    if isinstance(node, float):
        return node if math.isfinite(node) else None
    if is_dataclass(node):  # `asdict` would deep-copy every number of the golden vectors
        return {each.name: _plain(getattr(node, each.name)) for each in fields(node)}
    if isinstance(node, Mapping):
        return {key: _plain(value) for key, value in node.items()}
    return [_plain(item) for item in node] if isinstance(node, list | tuple) else node
