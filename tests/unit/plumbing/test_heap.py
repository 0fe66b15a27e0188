"""Freed memory stays with the process."""

import subprocess
import sys

import pytest

from plumbing import heap

_BLOCKS = """
import resource, sys
from plumbing import heap
if sys.argv[1] == "keep" and not heap.keep_freed():
    sys.exit(77)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def batch():
    [bytes(200_000) for _ in range(150)]
batch()
before = faults()
for _ in range(10):
    batch()
print(faults() - before)
"""


def _page_faults(mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", _BLOCKS, mode], capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("another C library than glibc")
    return int(done.stdout)


def test_later_batches_cost_no_page_faults() -> None:
    """Ten batches of 30 MB, each freed before the next, cost the page faults of less than one."""
    assert 10 * _page_faults("keep") < _page_faults("default")


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A C library without mallopt is no error: `keep_freed` returns False."""
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _name: object())
    assert not heap.keep_freed()
