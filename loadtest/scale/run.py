"""A scale run: start, connect, reach a steady state, hold and measure, end, account for every record."""

import time
from collections.abc import Callable

from rich.console import Console

from loadtest import deployment as tested
from loadtest import output
from loadtest.scale import plot
from loadtest.scale.memory import kernel_mib, one_car_mib
from loadtest.scale.results import Hold, ScaleResults
from loadtest.scale.settings import Settings
from loadtest.scale.timeline import Point, Timeline
from local import ledger, screen
from local.deployment import Deployment
from local.observer import Observer
from local.screen import Picture
from local.supervisor import rss_mib
from local.usage import Usage
from local.watch import Watch
from plumbing.life import Stop

_TICK_S = 1.0
# A fleet that has not connected by then will not connect; the bar is 60 s.
_CONNECT_S_MAX = 180.0
# Steady: no stage is more than this many seconds behind. If that is not reached, the measurement shows it.
_STEADY_S, _STEADY_WITHIN_S = 1.0, 60.0


class ScaleRun:
    """One run of `make scale`."""

    def __init__(self, settings: Settings, deployment: Deployment, console: Console, stop: Stop) -> None:
        self._settings, self._deployment = settings, deployment
        self._console, self._stop = console, stop
        self._timeline = Timeline()
        self._progress = output.ProgressLine(console)

    def run(self) -> int:
        """Exit status 0 where the whole fleet connected and nothing was lost."""
        deployment, settings = self._deployment, self._settings
        without_cars_mib, kernel_before_mib = one_car_mib(settings.run_dir / "one-car"), kernel_mib()
        tested.start(deployment, settings.model, self._console.print)
        watch = Watch(deployment.edge.bootstrap, deployment.cloud.bootstrap)
        started_at, connected_at, hold = time.time(), None, Hold(time.time(), time.time())
        self._observer = Observer(deployment, watch, self._console, started_at, settings.hold_s)
        try:
            with self._progress:
                deployment.start_simulator()
                if self._until(lambda p: p.cars_connected >= settings.cars, _CONNECT_S_MAX, "connect"):
                    connected_at = time.time()
                    self._settle()
                    hold = self._hold(kernel_before_mib)
            self._observer.drain()
            results = ScaleResults(
                settings=settings,
                timeline=self._timeline,
                started_at=started_at,
                connected_at=connected_at,
                hold=hold,
                stages=self._account(),
                watch=watch,
                without_cars_mib=without_cars_mib,
                restarts=deployment.supervisor.restarts,
            )
        finally:
            watch.close()
        plot.draw(results, settings.run_dir / "timeline.png")
        return results.show(self._console)

    def _until(self, done: Callable[[Picture], bool], within_s: float, phase: str) -> bool:
        """Observe and show the deployment once a second until `done`; whether that happened in time."""
        deadline, due = time.monotonic() + within_s, time.monotonic()
        while not self._stop.requested:
            self._deployment.supervisor.tick()
            picture = self._observer.look()
            self._timeline.points.append(Point(time.time(), picture, self._observer.metrics))
            self._progress.show(lambda picture=picture: f"{phase}: {screen.line(picture)}")  # type: ignore[misc]
            if done(picture):
                return True
            if time.monotonic() >= deadline:
                return False
            due = max(due + _TICK_S, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
        return False

    def _settle(self) -> None:
        """Wait until the JVMs have warmed up and no stage is behind."""
        self._until(lambda _: False, self._settings.warm_s, "warm up")
        behind = max(self._settings.rate * _STEADY_S, 1.0)
        self._until(lambda p: all(row.waiting <= behind for row in p.rows), _STEADY_WITHIN_S, "settle")

    def _hold(self, kernel_before_mib: float) -> Hold:
        usage = Usage(self._deployment.supervisor)
        own_cpu_s, from_s = time.process_time(), time.time()
        self._until(lambda _: False, self._settings.hold_s, "hold")
        to_s, fleet = time.time(), self._deployment.supervisor.children["simulator"]
        return Hold(
            from_s=from_s,
            to_s=to_s,
            components=usage.by_component(),
            own_cpu_s=time.process_time() - own_cpu_s,
            kernel_mib=max(0.0, kernel_mib() - kernel_before_mib),
            simulators_rss_mib=[rss_mib(pid) for pid in fleet.tree()],
        )

    def _account(self) -> list[ledger.Stage]:
        self._console.print("reading both clusters' logs for the ledger")
        edge, cloud = self._deployment.edge.bootstrap, self._deployment.cloud.bootstrap
        return ledger.reconcile(self._deployment.published(), ledger.read_audits(edge), edge, cloud)
