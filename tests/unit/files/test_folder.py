"""The folder of a model."""

import os
from pathlib import Path

import numpy as np
import pytest

from contract.alert_rule import AlertRule
from contract.manifest import sha256
from files import BadData, folder
from files.folder import FileManifest, States

GRAPH = b"a graph"


@pytest.fixture
def manifest() -> FileManifest:
    return FileManifest(
        created_at="2026-01-01T00:00:00+00:00",
        git_revision="0" * 40,
        data="pumps.csv",
        signals=("a", "b"),
        conditions=("b",),
        left_out=(),
        group="pump",
        time=None,
        interval_s=60.0,
        learning_samples=10,
        memory_samples=2.5,
        train_until="0.6",
        training_rows=100,
        machines=2,
        threshold=3.5,
        alert=AlertRule(smoothing=0.1),
        false_alarms_per_machine_week=0.1,
        seed=1,
        metrics={"any": 1},
        tflite_sha256=sha256(GRAPH),
        tflite_bytes=len(GRAPH),
    )


@pytest.fixture
def states() -> States:
    return States(
        ("p1", "Pumpe 2 ü"),
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.array([0.5, 1.5]),
        np.array([True, False]),
        np.array([np.nan, 1e9]),
    )


@pytest.fixture
def saved(tmp_path: Path, manifest: FileManifest, states: States) -> Path:
    """A folder with a model."""
    folder.save(tmp_path, manifest, GRAPH, states)
    return tmp_path


def test_a_model_comes_back_as_it_was_saved(saved: Path, manifest: FileManifest, states: States):
    """Manifest, graph, and what was known of every machine."""
    assert folder.load(saved) == (manifest, GRAPH)
    result = folder.load_states(saved / folder.STATES)
    assert result.machines == states.machines
    for name in ("state", "level", "is_open", "seconds"):
        np.testing.assert_array_equal(getattr(result, name), getattr(states, name))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("manifest.json", b"{", "is damaged"),
        ("manifest.json", b"[]", "is damaged"),
        ("manifest.json", b"{}", "the model has version None"),
        ("manifest.json", b'{"file_manifest_version": 1}', "missing: alert, "),
        ("model.tflite", b"another", "the checksum of model.tflite"),
    ],
)
def test_a_damaged_model_is_refused(saved: Path, file: str, content: bytes, message: str):
    """The message says what is wrong with it."""
    (saved / file).write_bytes(content)
    with pytest.raises(BadData, match=message):
        folder.load(saved)


def test_what_is_no_model_is_refused(tmp_path: Path):
    """A folder without a manifest, and states that are none."""
    with pytest.raises(BadData, match=r"is no model.*files fit"):
        folder.load(tmp_path)
    (tmp_path / "states.npz").write_bytes(b"no zip")
    with pytest.raises(BadData, match="is not a file of machine states"):
        folder.load_states(tmp_path / "states.npz")


def test_an_earlier_run_s_folder_is_made_anew(saved: Path):
    """Its results go before the new ones come: no folder is half of one model and half of another."""
    folder.make(saved, results=frozenset({folder.MANIFEST, folder.MODEL, folder.STATES}))
    assert list(saved.iterdir()) == []


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path):
    """A slip of the finger must not delete anybody's files."""
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(BadData, match=r"holds thesis\.tex.*another --out"):
        folder.make(tmp_path, results=frozenset({folder.MANIFEST}))
    assert (tmp_path / "thesis.tex").exists()


def test_a_folder_that_cannot_be_written_is_found_before_the_work(tmp_path: Path):
    """A file stands there; or the rights are missing, which root has everywhere."""
    (tmp_path / "file").touch()
    with pytest.raises(BadData, match=r"cannot be written: (File exists|Not a directory)"):
        folder.make(tmp_path / "file", results=frozenset())
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        with pytest.raises(BadData, match="Permission denied"):
            folder.make(tmp_path / "model", results=frozenset())
