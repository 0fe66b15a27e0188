"""The folder of a model made from a file: the graph, how it is used, and how far it has seen each machine."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.alert_rule import AlertRule
from contract.errors import Malformed
from contract.fields import Reader, exactly, listed, number, read, record
from contract.manifest import sha256
from files.errors import BadData

FILE_MANIFEST_VERSION = 1
MANIFEST, MODEL, STATES = "manifest.json", "model.tflite", "states.npz"
_STATES_BYTES_MAX = 2 * 1024**3


@dataclass(frozen=True, kw_only=True)
class FileManifest:
    """How the model is used, and where it comes from.

    `signals` are the columns of the graph in its order, conditions that are no signals last; `group`, `time`:
    columns of the file. `threshold` and `alert` as in a fleet's manifest; times in seconds, or in rows of
    `interval_s` where the file has no times.
    """

    created_at: str
    git_revision: str
    data: str
    signals: tuple[str, ...]
    conditions: tuple[str, ...]
    left_out: tuple[str, ...]
    group: str | None
    time: str | None
    interval_s: float
    learning_samples: int
    memory_samples: float
    train_until: str
    training_rows: int
    machines: int
    threshold: float
    alert: AlertRule
    false_alarms_per_machine_week: float
    seed: int
    metrics: Mapping[str, Any]
    tflite_sha256: str
    tflite_bytes: int
    file_manifest_version: int = field(default=FILE_MANIFEST_VERSION)


@dataclass(frozen=True)
class States:
    """How far the model has seen each of G machines.

    `state` (G, S) is the graph's; `level` (G,) and `is_open` (G,) are the alert rule's; `seconds` (G,): the
    time of the last row, NaN in a file without times.
    """

    machines: tuple[str, ...]
    state: NDArray[np.float32]
    level: NDArray[np.float64]
    is_open: NDArray[np.bool_]
    seconds: NDArray[np.float64]


def make(folder: Path, *, results: frozenset[str]) -> None:
    """An empty folder, or one that holds only `results` of an earlier run, which are removed.

    Done before anything takes long. Raises BadData where it cannot be written, or holds something else.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir()}
        if foreign := sorted(names - results):
            raise BadData(
                f"{folder} holds {', '.join(foreign[:5])}, which no run of this made: give another --out"
            )
        for name in sorted(
            names, key=lambda name: name != MANIFEST
        ):  # without it no half a folder is a model
            (folder / name).unlink()
        probe = folder / MANIFEST
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadData(f"--out {folder} cannot be written: {error.strerror}") from error


def save(folder: Path, manifest: FileManifest, tflite: bytes, states: States) -> None:
    """Raises BadData where the folder cannot be written."""
    try:
        (folder / MODEL).write_bytes(tflite)
        save_states(folder, states)
        (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadData(f"{folder} cannot be written: {error.strerror}") from error


def save_states(folder: Path, states: States) -> None:
    """Raises OSError."""
    columns = asdict(states) | {"machines": np.array(states.machines)}
    with (folder / STATES).open("wb") as file:
        np.savez_compressed(file, **columns)


def load(folder: Path) -> tuple[FileManifest, bytes]:
    """(manifest, TFLite graph). Raises BadData for a folder that is none of `save`, or damaged."""
    if not (folder / MANIFEST).is_file():
        raise BadData(f"{folder} is no model: it has no {MANIFEST}; `python -m files fit --out` makes one")
    try:
        document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        tflite = (folder / MODEL).read_bytes()
        version = document.get("file_manifest_version")
        if version != FILE_MANIFEST_VERSION:
            raise BadData(
                f"{folder}: a model of version {version!r}, this program reads {FILE_MANIFEST_VERSION}"
            )
        manifest = FileManifest(**read(FileManifest, _READERS, document))
    except (OSError, ValueError, AttributeError, Malformed) as error:
        raise BadData(f"{folder} is no sound model: {error}") from error
    if len(tflite) != manifest.tflite_bytes or sha256(tflite) != manifest.tflite_sha256:
        raise BadData(f"{folder}: {MODEL} is not the one of its {MANIFEST}")
    return manifest, tflite


def load_states(path: Path) -> States:
    """Raises BadData for a file that is none of `save_states`."""
    try:
        if path.stat().st_size > _STATES_BYTES_MAX:
            raise BadData(f"{path} has more than {_STATES_BYTES_MAX} bytes: no states of machines")
        with np.load(path, allow_pickle=False) as found:
            states = States(
                machines=tuple(found["machines"].tolist()),
                **{name: found[name] for name in ("state", "level", "is_open", "seconds")},
            )
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise BadData(f"{path} holds no states of machines: {error}") from error
    if {len(states.machines)} != {
        len(getattr(states, name)) for name in ("state", "level", "is_open", "seconds")
    }:
        raise BadData(f"{path} holds states of different numbers of machines")
    return states


def _or_none(reader: Reader) -> Reader:
    return lambda value: None if value is None else reader(value)


_TEXT, _WHOLE, _TEXTS = exactly(str), exactly(int), listed(exactly(str))
_READERS: Mapping[str, Reader] = {
    "created_at": _TEXT,
    "git_revision": _TEXT,
    "data": _TEXT,
    "signals": _TEXTS,
    "conditions": _TEXTS,
    "left_out": _TEXTS,
    "group": _or_none(_TEXT),
    "time": _or_none(_TEXT),
    "interval_s": number,
    "learning_samples": _WHOLE,
    "memory_samples": number,
    "train_until": _TEXT,
    "training_rows": _WHOLE,
    "machines": _WHOLE,
    "threshold": number,
    "alert": record(AlertRule, {"smoothing": number, "close_ratio": number}),
    "false_alarms_per_machine_week": number,
    "seed": _WHOLE,
    "metrics": exactly(dict),
    "tflite_sha256": _TEXT,
    "tflite_bytes": _WHOLE,
    "file_manifest_version": _WHOLE,
}
