"""Others' programs, set up to carry the benchmark's load."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from plumbing.life import WorldDown

_FOLDER = Path(__file__).parent
_INSTALLED_WITHIN_S = 600.0


def environment(name: str) -> Path:
    """The interpreter of a peer's Python environment, var/peers/<name>, with the packages of <name>.txt here.

    Made anew when these have changed. Raises WorldDown where pip cannot install them.
    """
    pins, folder = _FOLDER / f"{name}.txt", _FOLDER.parents[1] / "var/peers" / name
    installed, interpreter = folder / "pins.txt", folder / "bin/python"
    if not installed.exists() or installed.read_bytes() != pins.read_bytes():
        install([sys.executable, "-m", "venv", "--clear", str(folder)], _INSTALLED_WITHIN_S)
        pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--requirement", str(pins)]
        install(pip, _INSTALLED_WITHIN_S)
        installed.write_bytes(pins.read_bytes())
    return interpreter


def install(argv: Sequence[str], within_s: float, env: Mapping[str, str] | None = None) -> None:
    """Run a command that installs a peer. Raises WorldDown where it fails or takes longer than `within_s`."""
    command = f"`{' '.join(argv)}`"
    try:
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=within_s)
    except subprocess.TimeoutExpired as error:
        raise WorldDown(f"{command} took longer than {within_s:.0f} s") from error
    if done.returncode != 0:
        raise WorldDown(f"{command} failed: {done.stderr[-500:].strip()}")
