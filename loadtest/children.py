"""Child processes that several measurements start the same way."""

import sys
from collections.abc import Callable

from local.deployment import ENVIRONMENT, flags
from local.supervisor import Child
from local.watch import scrape


def python(name: str, module: str, *arguments: str, ready: Callable[[], bool] = lambda: True) -> Child:
    """`python -m module arguments`, not started yet.

    It is not restarted when it dies: a figure measured over two lives of a process means nothing.
    """
    argv = [sys.executable, "-m", module, *arguments]
    return Child(name, argv, ready, restart=False, env=ENVIRONMENT)


def fleet(name: str, port: int, *, cars: int, **settings: object) -> Child:
    """A simulator, not started yet, with its metrics at `port`; it is ready once all cars are connected."""

    def connected() -> bool:  # more than the cars: every worker process also connects a workshop
        return scrape(port).get("simulator_connected_clients", 0.0) > cars

    return python(
        name, "simulator", *flags({"cars": cars, **settings, "metrics_port": port}), ready=connected
    )
