"""A worker process: python -m simulator.worker JOB, a WorkerJob in JSON. Only the worker pool starts it."""

import sys

from plumbing import life, log
from simulator import process
from simulator.pipeline import Pipeline
from simulator.settings import WorkerJob


def _run() -> int:
    job = WorkerJob.from_json(sys.argv[1])
    log.configure("simulator", job.settings.log_format)
    process.die_with_parent(job.parent_pid)
    process.raise_file_limit()
    pipeline = Pipeline(job, life.Stop(job.settings.drain_s).install())
    process.give_back_memory()
    pipeline.run()
    return 0


if __name__ == "__main__":
    life.main(_run)
