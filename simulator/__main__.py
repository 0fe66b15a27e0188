"""python -m simulator: a fleet of cars, each with its own MQTT connection."""

from plumbing import heap, service
from plumbing.health import Health
from plumbing.life import Stop
from simulator.clock import wait_until_set
from simulator.settings import Settings
from simulator.worker_pool import END_MARGIN_S, WorkerPool


def main() -> None:
    """Entry point of the parent process."""
    service.run("simulator", Settings, __doc__, _run, deadline_s=lambda s: s.drain_s + END_MARGIN_S)


def _run(settings: Settings, health: Health, stop: Stop) -> None:
    def wait(why: str) -> None:
        health.unready(why)
        health.progress()

    wait_until_set(stop, waiting=wait)
    if stop.requested:
        return
    pool = WorkerPool(settings)
    pool.write_truth()
    heap.give_back()
    pool.run(stop, health)


if __name__ == "__main__":
    main()
