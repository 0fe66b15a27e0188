"""Memory that is freed stays with the process."""

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


def _faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", _BLOCKS, how], capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("another C library than glibc")
    return int(done.stdout)


def test_the_same_megabytes_are_no_new_pages() -> None:
    """Batches of 30 MB that come and go cost their page faults once, not ten times."""
    assert 10 * _faults("keep") < _faults("as it is")


def test_without_malloc_of_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library without mallopt is no error."""
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _name: object())
    assert not heap.keep_freed()
