"""The machine and the commit that a figure belongs to."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from local.java import ROOT


def describe() -> dict[str, Any]:
    """CPU, cores, memory, kernel, Python and load average, for a summary."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def commit() -> str:
    """The measured revision, with `+` appended where tracked files differ from it."""
    revision = _git("rev-parse", "--short", "HEAD") or "unknown"
    return revision + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
