"""python -m simulator: a fleet of cars, each with its own MQTT connection. Wiring only."""

import os
import sys

from plumbing import health, life, log, settings
from simulator import workers
from simulator.pipeline import Pipeline
from simulator.settings import Settings


def main() -> None:
    """Entry point."""
    life.main(_run)


def _run() -> int | None:
    told = settings.load(
        Settings, prefix="SIMULATOR", argv=sys.argv[1:], environ=os.environ, description=__doc__ or ""
    )
    log.configure("simulator", told.log_format)
    if told.worker is not None:
        workers.die_with_parent(told.parent_pid)
        workers.take_all_files()
        cars = Pipeline(told, life.Stop(told.drain_s).install())
        workers.give_back_memory()
        cars.run()
        return 0
    stop = life.Stop(told.drain_s + workers.MARGIN_S).install()
    fleet = workers.Workers(told)
    fleet.write_truth()
    workers.give_back_memory()
    state = health.Health()
    server = health.serve(state, host=told.metrics_host, port=told.metrics_port)
    fleet.run(stop, state)
    if server:
        server.shutdown()
    return 0


if __name__ == "__main__":
    main()
