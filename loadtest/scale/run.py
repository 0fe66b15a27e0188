"""The run: start, connect, a model, a steady state, the hold that is measured, the end, the account."""

import time
from collections import Counter
from collections.abc import Callable

from rich.console import Console
from rich.live import Live

from loadtest.scale import plot
from loadtest.scale.memory import OneCar, kernel_mib
from loadtest.scale.results import Hold, Results
from loadtest.scale.settings import Settings
from loadtest.scale.timeline import Timeline
from local import champion, ledger, screen
from local.deployment import SERVICES_WITHIN_S, TRAINER, Deployment
from local.observer import Observer
from local.screen import Picture
from local.supervisor import rss_mib
from local.usage import Usage, component
from local.watch import Watch
from plumbing.life import Stop

_TICK_S = 1.0
_LINE_EVERY_S = 5.0
# A fleet that takes longer than this is not going to connect; the bar is 60 s.
_CONNECT_S_MAX = 180.0
# A kept model comes down through replication, which needs some seconds to start.
_KEPT_MODEL_WITHIN_S, _TRAINED_MODEL_WITHIN_S = 45.0, 120.0
# Of each car; what the trainer reads at most.
_TRAINING_SAMPLES, _TRAINING_RECORDS_MAX, _TRAININGS_MAX = 40, 1_000_000, 3
# Steady: no stage is further behind than this. Where that is not reached, the hold shows it.
_STEADY_S, _STEADY_WITHIN_S = 1.0, 60.0


class Scale:
    """One run of `make scale`."""

    def __init__(self, told: Settings, deployment: Deployment, console: Console, stop: Stop) -> None:
        self._told, self._deployment, self._console, self._stop = told, deployment, console, stop
        self._timeline = Timeline()
        self._usage = Usage(deployment.supervisor)
        self._phase = ""
        self._line_at = 0.0

    def run(self) -> int:
        """The exit status: 0 where the whole fleet connected and nothing was lost."""
        deployment, kernel_before = self._deployment, kernel_mib()
        one_car = OneCar(self._told.run_dir / "one-car")
        try:
            self._start_brokers()
            one_car_mib = one_car.measure()
        finally:
            one_car.end()
        version = champion.publish(deployment.cloud.bootstrap, self._told.model)
        self._start_services()
        watch = Watch(deployment.edge.bootstrap, deployment.cloud.bootstrap)
        observer = Observer(deployment, watch, self._console, time.time(), self._told.hold_s)
        try:
            with Live(console=self._console, auto_refresh=False, transient=True) as live:
                has_model = version is not None and self._wait_for_kept_model(observer, live)
                started_at = time.time()
                deployment.start_simulator()
                connected_at = self._connect(observer, live)
                if connected_at is not None:
                    if not has_model:
                        self._train(observer, live)
                    self._settle(observer, live)
                    hold = self._hold(observer, live, kernel_before)
                else:
                    hold = Hold.missed()
            observer.drain()
            results = Results(
                told=self._told,
                timeline=self._timeline,
                started_at=started_at,
                connected_at=connected_at,
                hold=hold,
                stages=self._account(),
                watch=watch,
                one_car_mib=one_car_mib,
                restarts=deployment.supervisor.restarts,
            )
        finally:
            watch.close()
        plot.draw(results, self._told.run_dir / "timeline.png")
        return results.show(self._console)

    def _start_brokers(self) -> None:
        plan, say = self._deployment.plan, self._console.print
        say(f"starting {plan.mqtt_shards} mosquitto, 2 Kafka (logs: {self._deployment.supervisor.logs})")
        self._deployment.start_brokers()

    def _start_services(self) -> None:
        plan, deployment = self._deployment.plan, self._deployment
        self._console.print(f"starting MirrorMaker 2, {plan.bridges} bridge(s), {plan.scorers} scorer(s)")
        deployment.start_mirror()
        deployment.start_bridge()
        for number in range(plan.scorers):
            deployment.start_scorer(number)
        deployment.supervisor.wait_ready(plan.bridge_names, SERVICES_WITHIN_S)

    def _until(
        self, done: Callable[[Picture], bool], within_s: float, phase: str, observer: Observer, live: Live
    ) -> bool:
        """Look once a second, and show it, until something is so; whether that was in time."""
        self._phase, deadline, due = phase, time.monotonic() + within_s, time.monotonic()
        while not self._stop.requested:
            self._deployment.supervisor.tick()
            picture, now = observer.look(), time.time()
            self._timeline.note(picture, observer.metrics, now)
            self._show(picture, live)
            if done(picture):
                return True
            if time.monotonic() >= deadline:
                return False
            due = max(due + _TICK_S, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
        return False

    def _show(self, picture: Picture, live: Live) -> None:
        line = f"{self._phase}: {screen.line(picture)}"
        if self._console.is_terminal:
            live.update(line, refresh=True)
        elif time.monotonic() - self._line_at >= _LINE_EVERY_S:
            self._line_at = time.monotonic()
            self._console.print(line, soft_wrap=True)

    def _connect(self, observer: Observer, live: Live) -> float | None:
        """When all cars were connected, s since 1970."""
        everyone = self._told.cars
        if self._until(lambda p: p.cars_connected >= everyone, _CONNECT_S_MAX, "connect", observer, live):
            self._console.print(f"all {screen.number(everyone)} cars are connected")
            return time.time()
        self._console.print("[bold red]the fleet did not connect[/]")
        return None

    def _wait_for_kept_model(self, observer: Observer, live: Live) -> bool:
        """Whether all scorers use it; it comes down through replication as any other."""
        self._console.print(f"the model is that of {self._told.model}")
        if self._until(lambda p: p.model_version > 0, _KEPT_MODEL_WITHIN_S, "model", observer, live):
            return True
        self._console.print("it did not come into use: training another one")
        return False

    def _train(self, observer: Observer, live: Live) -> None:
        """A model from what came so far, kept for the next run; until the scorers have caught up with it."""
        for attempt in range(_TRAININGS_MAX):
            records = min(self._told.cars * _TRAINING_SAMPLES * 2**attempt, _TRAINING_RECORDS_MAX)
            trainer = self._deployment.train(wait_records=records, wait_seconds=_TRAINED_MODEL_WITHIN_S)
            self._until(
                lambda _, trainer=trainer: trainer.process is None,  # type: ignore[misc]
                2 * _TRAINED_MODEL_WITHIN_S, "train", observer, live,
            )  # fmt: skip
            if trainer.status == 0:
                champion.keep(self._deployment.cloud.bootstrap, self._told.model)
                self._console.print(f"a model was trained, and is kept in {self._told.model}")
                self._until(
                    lambda _: observer.moments.caught_up is not None,
                    _TRAINED_MODEL_WITHIN_S, "model", observer, live,
                )  # fmt: skip
                return
            self._console.print(f"[red]training {attempt + 1}: {observer.trainer_state()}[/]")
            if self._stop.requested:
                return
        self._console.print(f"no model: see {self._deployment.supervisor.log_of(TRAINER)}")

    def _settle(self, observer: Observer, live: Live) -> None:
        """Everything warm, and no stage behind."""
        self._until(lambda _: False, self._told.warm_s, "warm up", observer, live)
        behind = max(self._told.rate * _STEADY_S, 1.0)
        self._until(
            lambda p: all(row.waiting <= behind for row in p.rows), _STEADY_WITHIN_S, "settle", observer, live
        )

    def _hold(self, observer: Observer, live: Live, kernel_before_mib: float) -> Hold:
        self._usage.restart()
        own_cpu_s, from_s = time.process_time(), time.time()
        self._until(lambda _: False, self._told.hold_s, "hold", observer, live)
        to_s, children = time.time(), self._deployment.supervisor.children
        return Hold(
            from_s=from_s,
            to_s=to_s,
            components=self._usage.by_component(),
            processes=_processes(self._deployment),
            own_cpu_s=time.process_time() - own_cpu_s,
            kernel_mib=max(0.0, kernel_mib() - kernel_before_mib),
            simulators_rss_mib=[rss_mib(pid) for pid in children["simulator"].tree()],
        )

    def _account(self) -> list[ledger.Stage]:
        self._console.print("reading both clusters' logs for the ledger")
        edge, cloud = self._deployment.edge.bootstrap, self._deployment.cloud.bootstrap
        return ledger.reconcile(self._deployment.published(), ledger.read_audits(edge), edge, cloud)


def _processes(deployment: Deployment) -> dict[str, int]:
    """How many do the work of each component; the simulator's parent only looks after its workers."""
    counts = Counter(component(name) for name in deployment.supervisor.children)
    return {**counts, "simulator": len(deployment.supervisor.children["simulator"].tree()) - 1}
