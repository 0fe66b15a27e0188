"""python -m simulator: a fleet of cars, each with its own MQTT connection."""

import os
import sys

from plumbing import health, life, log
from plumbing.settings import load
from simulator import process
from simulator.settings import Settings
from simulator.worker_pool import END_MARGIN_S, WorkerPool


def main() -> None:
    """Entry point of the parent process."""
    life.main(_run)


def _run() -> int:
    settings = load(
        Settings, prefix="SIMULATOR", argv=sys.argv[1:], environ=os.environ, description=__doc__ or ""
    )
    log.configure("simulator", settings.log_format)
    stop = life.Stop(settings.drain_s + END_MARGIN_S).install()
    pool = WorkerPool(settings)
    pool.write_truth()
    process.give_back_memory()
    state = health.Health()
    server = health.serve(state, host=settings.metrics_host, port=settings.metrics_port)
    pool.run(stop, state)
    if server:
        server.shutdown()
    return 0


if __name__ == "__main__":
    main()
