"""A worker process, which only the worker pool starts.

python -m simulator.worker WORKER EPOCH_MS PARENT_PID, and the flags of the parent
"""

import ctypes
import os
import resource
import signal
import sys

from plumbing import heap, life, log
from plumbing.settings import load
from simulator.clock import wait_until_set
from simulator.pipeline import Pipeline
from simulator.settings import Settings, WorkerJob

_PR_SET_PDEATHSIG = 1


def _run() -> int:
    worker, epoch_ms, parent_pid = map(int, sys.argv[1:4])
    settings = load(Settings, prefix="SIMULATOR", argv=sys.argv[4:])
    log.configure("simulator", settings.log_format)
    _die_with_parent(parent_pid)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # every connection is an open file
    stop = life.Stop(settings.drain_s).install()
    wait_until_set(stop, epoch_ms)
    if stop.requested:
        return 0
    pipeline = Pipeline(WorkerJob(settings, worker, epoch_ms), stop)
    heap.give_back()  # drawing the fleet takes a multiple of what is kept
    pipeline.run()
    return 0


def _die_with_parent(parent_pid: int) -> None:
    """Have this process killed when its parent dies (Linux, prctl(2)), so that no worker is left behind."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # the parent died before the call
        sys.exit(1)


if __name__ == "__main__":
    life.main(_run)
