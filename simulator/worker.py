"""A worker process: python -m simulator.worker JOB, a WorkerJob in JSON. Only the worker pool starts it."""

import ctypes
import os
import resource
import signal
import sys

from plumbing import heap, life, log
from simulator.pipeline import Pipeline
from simulator.settings import WorkerJob

_PR_SET_PDEATHSIG = 1


def _run() -> int:
    job = WorkerJob.from_json(sys.argv[1])
    log.configure("simulator", job.settings.log_format)
    _die_with_parent(job.parent_pid)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # every connection is an open file
    pipeline = Pipeline(job, life.Stop(job.settings.drain_s).install())
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
