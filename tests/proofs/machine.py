"""The machine that a figure was measured on, and how fast it was then."""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_ROUNDS = 3  # the fastest counts
_PYTHON_STEPS, _MATRIX, _COPIES, _COPY_MIB = 500_000, 384, 4, 64


def machine() -> dict[str, Any]:
    """Cores, memory, CPU model, and three small speed figures; takes about a second."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    matrix = np.random.default_rng(1).normal(size=(_MATRIX, _MATRIX))
    block = np.ones(_COPY_MIB << 17)  # 8 bytes each
    python_s = _fastest_s(lambda: sum(i * i % 7 for i in range(_PYTHON_STEPS)))
    numpy_s = _fastest_s(lambda: np.tanh(matrix @ matrix).sum())
    copy_s = _fastest_s(lambda: [block.copy() for _ in range(_COPIES)])
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "python_ns_per_step": round(1e9 * python_s / _PYTHON_STEPS, 1),
        "numpy_us_per_matrix": round(1e6 * numpy_s),
        "copy_gib_per_s": round(_COPIES * _COPY_MIB / 1024 / copy_s, 2),
    }


def in_words(machine: dict[str, Any]) -> str:
    """One line."""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB; a step of a Python loop "
        f"{machine['python_ns_per_step']} ns, a product of two {_MATRIX}² matrices with its tanh "
        f"{machine['numpy_us_per_matrix']} µs, memory copied {machine['copy_gib_per_s']} GiB/s"
    )


def _fastest_s(work: Callable[[], object]) -> float:
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)
