"""The start and the end that all services share: settings, log, signals, probes."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from plumbing import health, life, log, settings
from plumbing.settings import setting


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """The settings that every service has."""

    metrics_host: str = setting("address of /metrics, /healthz, /readyz", default="127.0.0.1")
    metrics_port: int = setting("port of /metrics, /healthz, /readyz; 0: none", default=0)
    log_format: log.LogFormat = setting("format of log lines", default="auto")


S = TypeVar("S", bound=ServiceSettings)


def run(
    name: str,
    settings_class: type[S],
    description: str | None,
    work: Callable[[S, health.Health, life.Stop], Any],
    *,
    deadline_s: Callable[[S], float] = lambda _: life.SHUTDOWN_DEADLINE_S,
    argv: Sequence[str] | None = None,
    command: str | None = None,
) -> None:
    """Load the settings (environment `<NAME>_…`), do the work until SIGTERM, exit as `life.main` says.

    The work calls `Stop.started` when its loop begins; a signal before ends the process at once.

    deadline_s: how long the work may take to end. argv: the flags, by default all of the process; `command`
    is what a person has typed before them.
    """

    def start() -> None:
        chosen = settings.load(
            settings_class,
            prefix=name.upper(),
            argv=sys.argv[1:] if argv is None else argv,
            description=description,
            command=command,
        )
        log.configure(name, chosen.log_format)
        stop, state = life.Stop(deadline_s(chosen)).install(starting=True), health.Health()
        server = health.serve(state, host=chosen.metrics_host, port=chosen.metrics_port)
        work(chosen, state, stop)
        if server:
            server.shutdown()

    life.main(start)
