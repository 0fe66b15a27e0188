"""A decision of `models.log` as a run of MLflow: names and values only, without MLflow.

The run is named by its record: the id of the topic, the offset and the version. An offset alone could be that
of another log.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from typing import Any

from trainer import trial
from trainer.publication import Entry

RECORD = "models.log.record"  # the tag that says which record a run shows
_TEXT_CHARS_MAX = 5000  # of a tag; a parameter may have 6000
_LEFT_TO_THE_FILE = ("golden", "hypotheses", "metrics", "reference_quantiles", "validation_offsets")


@dataclass(frozen=True)
class ModelRun:
    """What MLflow shows of one decision about one model."""

    name: str
    began_ms: int  # since 1970
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]


def model_run(entry: Entry, topic_id: str) -> ModelRun:
    """The run of a record. Fields that manifests and decisions get later show without a change here."""
    manifest, decision = entry.manifest, entry.manifest.decision
    verdict = trial.verdict(decision)
    measured = dict(_leaves("", manifest.metrics))
    metrics = {
        name: float(value)
        for name, value in measured.items()
        if type(value) in (int, float) and not name.startswith("settings/")
    }
    described = {
        each.name: getattr(manifest, each.name)
        for each in fields(manifest)
        if each.name not in _LEFT_TO_THE_FILE
    }
    words = dict(_leaves("", described)) | {n: value for n, value in measured.items() if n not in metrics}
    tags = {
        RECORD: f"{topic_id}/{entry.offset}/{manifest.version}",
        "mlflow.note.content": f"{verdict}: {'; '.join(decision.reasons)}",
        "mlflow.source.git.commit": manifest.git_revision,
        **{name: _text(value) for name, value in _leaves("decision", decision)},
    }
    return ModelRun(
        name=f"version {manifest.version} {verdict}",
        began_ms=int(datetime.fromisoformat(manifest.created_at).timestamp() * 1000),
        tags=tags,
        params={name: _text(value) for name, value in words.items()},
        metrics=metrics,
    )


def _leaves(path: str, node: Any) -> Iterator[tuple[str, Any]]:
    """(names joined by /, value) of everything in nested mappings and dataclasses, but ranges of offsets."""
    inner = vars(node) if is_dataclass(node) else node
    if not isinstance(inner, Mapping) or any(type(name) is int for name in inner):
        yield path, node
        return
    for name, value in inner.items():
        plain = re.sub(r"[^\w. :/-]", "_", str(name))  # what MLflow allows
        yield from _leaves(f"{path}/{plain}" if path else plain, value)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):  # partition: (first, next)
        value = [f"{number}:{first}-{after}" for number, (first, after) in value.items()]
    if isinstance(value, list | tuple):
        value = "; ".join(map(str, value))
    return "" if value is None else str(value)[:_TEXT_CHARS_MAX]
