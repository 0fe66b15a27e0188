"""Memory that the processes of a run do not show: the kernel's, and a simulator's without cars."""

import contextlib
import os
import time
from pathlib import Path

from loadtest import children
from local.deployment import flags
from local.supervisor import Supervisor, rss_mib

_MIB = 1024 * 1024
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SETTLE_S_MAX, _POLL_S = 8.0, 0.5


def kernel_mib() -> float:
    """MiB of all sockets and other kernel objects (SUnreclaim) and of the bytes in TCP's buffers."""
    slab_kib = _field(Path("/proc/meminfo"), "SUnreclaim:", 1)
    tcp_pages = _field(Path("/proc/net/sockstat"), "TCP:", -1)
    return slab_kib / 1024 + tcp_pages * _PAGE_BYTES / _MIB


def one_car_mib(folder: Path) -> tuple[float, float]:
    """RSS in MiB of the parent and of the worker of a simulator with one car, once they stop growing.

    The car reaches no broker. `folder` takes its journal and its log.
    """
    supervisor, before = Supervisor(folder), (0.0, 0.0)
    settings = {"mqtt_brokers": "127.0.0.1:1", "run_dir": folder, "cars": 1}
    child = supervisor.start(children.python("one-car", "simulator", *flags(settings)))
    deadline = time.monotonic() + _SETTLE_S_MAX
    try:
        while time.monotonic() < deadline:
            time.sleep(_POLL_S)
            parent, *workers = child.tree() or [0]
            now = (rss_mib(parent), sum(map(rss_mib, workers)))
            if now[1] and now == before:
                break
            before = now
        return before
    finally:
        supervisor.kill("one-car")
        supervisor.stop("one-car")


def _field(path: Path, name: str, column: int) -> int:
    """A number of the line that begins with `name`; 0 where there is none."""
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = path.read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith(name)).split()[column])
    return 0
