"""A model's folder: the graph, its manifest, and the state of each machine after its last scored row."""

import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.alert_rule import AlertRule
from contract.fields import read
from contract.manifest import sha256
from files import BadData

FILE_MANIFEST_VERSION = 1
MANIFEST, MODEL, STATES = "manifest.json", "model.tflite", "states.npz"
_STATES_BYTES_MAX = 2 * 1024**3
# What numpy raises for bytes that are no archive of arrays, or whose arrays are no rows.
_DAMAGED = (
    OSError, ValueError, KeyError, EOFError, TypeError, MemoryError, NotImplementedError, RuntimeError,
    zipfile.BadZipFile, zlib.error, struct.error, SyntaxError,
)  # fmt: skip
_COLUMNS = ("state", "level", "is_open", "seconds")  # of `States`


@dataclass(frozen=True, kw_only=True)
class FileManifest:
    """How the model is used, and where it comes from."""

    created_at: str
    git_revision: str
    data: str  # name of the file that it learned from
    signals: tuple[str, ...]  # the graph's columns in its order; conditions that are not judged come last
    conditions: tuple[str, ...]
    left_out: tuple[str, ...]  # columns that were empty or constant
    group: str | None  # column of the machine's name
    time: str | None  # column of the time
    interval_s: float  # between two rows of a machine
    learning_samples: int  # rows for which a machine is watched before it is judged
    memory_samples: float  # rows over which deviations are averaged
    train_until: str
    training_rows: int
    machines: int
    threshold: float
    alert: AlertRule
    false_alarms_per_machine_week: float  # budget for which the threshold was set
    seed: int
    metrics: Mapping[str, Any]
    tflite_sha256: str
    tflite_bytes: int
    file_manifest_version: int = field(default=FILE_MANIFEST_VERSION)


@dataclass(frozen=True)
class States:
    """The state of each of G machines after its last scored row."""

    machines: tuple[str, ...]
    state: NDArray[np.float32]  # (G, S), the graph's
    level: NDArray[np.float64]  # (G,), the alert rule's smoothed score
    is_open: NDArray[np.bool_]  # (G,), whether an alarm is open
    seconds: NDArray[np.float64]  # (G,), time of the last row; NaN in a file without times

    def joined(self, others: "States") -> "States":
        """These states, and those of machines that only `others` has."""
        missing = ~np.isin(others.machines, self.machines)
        columns = {
            name: np.concatenate([getattr(self, name), getattr(others, name)[missing]]) for name in _COLUMNS
        }
        return States((*self.machines, *np.array(others.machines)[missing].tolist()), **columns)


def make(folder: Path, *, results: frozenset[str]) -> None:
    """Make the folder, or empty it where it holds only `results` of an earlier run.

    Called before anything that takes long. Raises BadData when it cannot be written or holds anything else.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir()}
        if foreign := sorted(names - results):
            raise BadData(
                f"{folder} holds {', '.join(foreign[:5])}, which are no results of a run: give another --out"
            )
        # The manifest goes first: without it a folder that is half removed is not taken for a model.
        for name in sorted(names, key=lambda name: name != MANIFEST):
            (folder / name).unlink()
        probe = folder / MANIFEST
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadData(f"--out {folder} cannot be written: {error.strerror}") from error


def save(folder: Path, manifest: FileManifest, tflite: bytes, states: States) -> None:
    """Write the model. Raises OSError."""
    (folder / MODEL).write_bytes(tflite)
    with (folder / STATES).open("wb") as file:
        np.savez_compressed(file, **(asdict(states) | {"machines": np.array(states.machines)}))
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> tuple[FileManifest, bytes]:
    """(manifest, TFLite graph). Raises BadData for a folder that `save` did not write or that is damaged."""
    if not (folder / MANIFEST).is_file():
        raise BadData(
            f"{folder} is no model: it has no {MANIFEST}. `python -m files fit --out` makes a model"
        )
    try:
        document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        tflite = (folder / MODEL).read_bytes()
        version = document.get("file_manifest_version")
        if version != FILE_MANIFEST_VERSION:
            raise BadData(
                f"{folder}: the model has version {version!r}, this program reads {FILE_MANIFEST_VERSION}"
            )
        manifest = read(FileManifest, document)
    except (OSError, ValueError, AttributeError) as error:
        raise BadData(f"{folder} is damaged: {error}") from error
    if len(tflite) != manifest.tflite_bytes or sha256(tflite) != manifest.tflite_sha256:
        raise BadData(f"{folder}: the checksum of {MODEL} is not that of {MANIFEST}")
    return manifest, tflite


def load_states(path: Path) -> States:
    """Read the states that `save` wrote. Raises BadData for any other file."""
    try:
        if path.stat().st_size > _STATES_BYTES_MAX:
            raise BadData(
                f"{path} is larger than {_STATES_BYTES_MAX} bytes: it cannot be a file of machine states"
            )
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            states = States(tuple(arrays["machines"].tolist()), **{name: arrays[name] for name in _COLUMNS})
        lengths = {len(states.machines), *(len(getattr(states, name)) for name in _COLUMNS)}
    except _DAMAGED as error:
        raise BadData(
            f"{path} is not a file of machine states; take an intact copy of the model, or give --states "
            f"none to begin without states: {error!r:.300}"
        ) from error
    if len(lengths) > 1:
        raise BadData(f"{path} is damaged: its arrays have different lengths")
    return states
