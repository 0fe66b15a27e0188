"""The model that a load test runs with, where the trainer has left none yet: made with a small, quick fleet.

A large fleet speaks too rarely: at a sample per car and ten seconds a detector would be minutes late.
"""

import contextlib
import subprocess
import sys
from pathlib import Path

from contract.errors import Malformed
from contract.manifest import unpack
from plumbing.life import WorldDown

_CARS = "2000"


def is_kept(model: Path) -> bool:
    """Whether the file holds a model that today's scorers read."""
    with contextlib.suppress(FileNotFoundError, Malformed):
        unpack(model.read_bytes())
        return True
    return False


def train(model: Path, run_dir: Path, port_offset: int) -> None:
    """A scale run of a sample a car and second, which keeps its model. Raises WorldDown where that fails."""
    done = subprocess.run(
        [sys.executable, "-m", "loadtest", "scale", "--cars", _CARS, "--rate", _CARS, "--minutes", "0.1",
         "--connect-s", "4", "--model", str(model), "--port-offset", str(port_offset),
         "--run-dir", str(run_dir)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0 or not is_kept(model):
        raise WorldDown(f"the run that trains a model failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
