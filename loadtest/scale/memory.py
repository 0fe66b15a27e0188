"""Memory that a process does not show: the kernel's, and what a simulator takes without cars."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from local.java import ROOT
from local.supervisor import descendants, rss_mib

_MIB = 1024 * 1024
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SETTLE_S_MAX, _LOOK_S = 8.0, 0.5


def kernel_mib() -> float:
    """Of all sockets and other kernel objects (SUnreclaim) and of the bytes in TCP's buffers, in MiB."""
    slab_kib = _number(Path("/proc/meminfo"), "SUnreclaim:", 1)
    tcp_pages = _number(Path("/proc/net/sockstat"), "TCP:", -1)
    return slab_kib / 1024 + tcp_pages * _PAGE_BYTES / _MIB


class OneCar:
    """A simulator of one car that reaches no broker: what its parent and each worker take without cars."""

    def __init__(self, folder: Path) -> None:
        """Starts it; `folder` takes its journal."""
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", "simulator",
             "--mqtt-brokers", "127.0.0.1:1", "--run-dir", str(folder), "--cars", "1"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def measure(self) -> tuple[float, float]:
        """RSS in MiB of the parent and of one worker once they do not grow any more; ends it."""
        deadline, before = time.monotonic() + _SETTLE_S_MAX, (0.0, 0.0)
        try:
            while time.monotonic() < deadline:
                time.sleep(_LOOK_S)
                parent, *workers = descendants(self._process.pid)
                now = (rss_mib(parent), sum(map(rss_mib, workers)))
                if now[1] and now == before:
                    break
                before = now
            return before
        finally:
            self.end()

    def end(self) -> None:
        """Kill it; its worker dies with it."""
        self._process.kill()
        self._process.wait()


def _number(path: Path, name: str, column: int) -> int:
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = path.read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith(name)).split()[column])
    return 0
