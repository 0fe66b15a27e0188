"""Others' programs, set up to carry the benchmark's load."""

import subprocess
from collections.abc import Mapping, Sequence

from plumbing.life import WorldDown


def install(argv: Sequence[str], within_s: float, env: Mapping[str, str] | None = None) -> None:
    """Run a command that installs a peer. Raises WorldDown where it fails or takes longer than `within_s`."""
    command = f"`{' '.join(argv)}`"
    try:
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=within_s)
    except subprocess.TimeoutExpired as error:
        raise WorldDown(f"{command} took longer than {within_s:.0f} s") from error
    if done.returncode != 0:
        raise WorldDown(f"{command} failed: {done.stderr[-500:].strip()}")
