"""The demo: the whole deployment for some minutes, live, then the ledger and the scorecard."""

import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live

from local import champion, ledger, screen
from local.deployment import TRAINER, Deployment
from local.foresight import AlertVerdicts
from local.observer import Observer
from local.report import RunReport
from local.watch import Watch
from plumbing.life import Stop
from plumbing.settings import setting

_TICK_S = 0.5
_LINE_EVERY_S = 5.0
# Seconds of telemetry in the first model's slice; when the gate refuses it, the next one takes twice as much.
_FIRST_SLICE_S = 40
# The run shows so many hours of driving and of wear; a fault takes 4 to 80 of them until the component fails.
# The next fault of a car begins at most so much later.
_HOURS_SHOWN, FAULT_SPREAD_H = 60, 6.0
# 1 000 cars drive 350 car-weeks in a run.
FALSE_ALARMS_PER_CAR_WEEK = 0.01
# The second training, on all there is, begins at this share of the run.
_SECOND_TRAINING_AT = 0.4
_TRAININGS_MAX = 4
# The trainer wants 50 cars to learn from and 20 each to set the threshold and to judge (6 : 2 : 2).
CARS_TO_LEARN_FROM = 150


@dataclass(frozen=True)
class Settings:
    """Flags, environment (DEMO_…) or these defaults."""

    cars: int = setting("how many cars", default=1_000)
    minutes: float = setting("how long telemetry flows", default=3.0)
    seed: int = setting("of the fleet and of the training", default=1)
    rate_hz: float = setting("samples a second of each car", default=1.0)
    faulty_share: float = setting("share of the cars in which components wear out", default=0.05)
    scorers: int = setting("scorer replicas", default=2)
    shards: int = setting("MQTT broker shards; 0: as many as the file limit asks for", default=0)
    port_offset: int = setting("added to every port, to run beside another deployment", default=0)
    run_dir: Path = setting("logs, state and results; emptied at the start", default=Path("var/demo"))
    started_at: float = setting("when the command was typed, s since 1970; 0: now", default=0.0)

    def __post_init__(self) -> None:
        if self.cars < 1 or self.minutes <= 0 or self.rate_hz <= 0 or self.scorers < 1:
            raise ValueError("--cars, --minutes, --rate-hz and --scorers must be positive")
        if not 0 <= self.faulty_share <= 1:
            raise ValueError(f"--faulty-share {self.faulty_share} must be from 0 to 1")

    @property
    def run_s(self) -> float:
        """How long telemetry flows."""
        return 60 * self.minutes

    @property
    def time_lapse(self) -> float:
        """Cars drive and wear so much faster than life: by minutes of driving nobody knows a car."""
        return _HOURS_SHOWN * 3600 / self.run_s

    @property
    def horizon_s(self) -> float:
        """An alert is right when the failure comes within half of the run: the first half's are judged."""
        return self.run_s / 2

    @property
    def report_s(self) -> float:
        """A workshop reports a failure within an hour (simulator/faults.py); it is there within seconds."""
        return 3600 / self.time_lapse + 2

    @property
    def healthy_s(self) -> float:
        """No fault begins while the first model's slice is taken: a fleet is commissioned without faults."""
        return _FIRST_SLICE_S + 5.0


class Demo:
    """One run, from the brokers to the scorecard."""

    def __init__(self, settings: Settings, deployment: Deployment, console: Console, stop: Stop) -> None:
        self._settings = settings
        self._deployment = deployment
        self._console = console
        self._stop = stop
        self._trainings = 0
        self._told_of = 0  # trainings whose failure was shown

    def run(self) -> int:
        """The exit status: 0 where records flowed and nothing was lost."""
        deployment, started_at = self._deployment, self._settings.started_at or time.time()
        if self._settings.cars < CARS_TO_LEARN_FROM:
            self._console.print(
                f"[yellow]{self._settings.cars} cars are too few to train a model and to judge it "
                f"(about {CARS_TO_LEARN_FROM} are needed): nothing will be scored[/]"
            )
        deployment.start(self._console.print)
        watch = Watch(deployment.edge.bootstrap, deployment.cloud.bootstrap)
        foresight = AlertVerdicts(self._settings.horizon_s, self._settings.report_s)
        observer = Observer(
            deployment, watch, self._console, started_at, self._settings.run_s, foresight=foresight
        )
        try:
            self._show_live(observer)
            observer.drain()
            self._console.print("reading both clusters' logs for the ledger")
            audits = ledger.read_audits(deployment.edge.bootstrap)
            stages = ledger.reconcile(
                deployment.published(), audits, deployment.edge.bootstrap, deployment.cloud.bootstrap
            )
            champion.keep(deployment.cloud.bootstrap, champion.KEPT)  # `make scale` begins with it
        finally:
            watch.close()
        first_batches = ledger.first_batches(audits)
        return RunReport(deployment, observer, stages, first_batches).show(self._console)

    def _show_live(self, observer: Observer) -> None:
        line_at = 0.0
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while not self._stop.requested and observer.flowing_s < self._settings.run_s:
                self._deployment.supervisor.tick()
                picture = observer.look()
                self._train_when_due(observer)
                if self._console.is_terminal:
                    live.update(screen.render(picture, self._console.height), refresh=True)
                elif time.monotonic() - line_at >= _LINE_EVERY_S:
                    line_at = time.monotonic()
                    self._console.print(screen.line(picture), soft_wrap=True)
                time.sleep(_TICK_S)

    def _train_when_due(self, observer: Observer) -> None:
        """The first model as soon as there is some telemetry; a second one, on more, challenges it later."""
        settings, moments = self._settings, observer.moments
        earlier = self._deployment.supervisor.children.get(TRAINER)
        if moments.telemetry is None or (earlier is not None and earlier.process is not None):
            return
        failed = earlier is not None and earlier.status != 0
        if failed and self._told_of < self._trainings:
            self._told_of = self._trainings
            self._console.print(f"[red]training {self._trainings}: {observer.trainer_state()}[/]")
        if self._trainings == 0 or (moments.first_model is None and failed):
            records = int(settings.cars * settings.rate_hz * _FIRST_SLICE_S * 2**self._trainings)
        elif (
            moments.caught_up
            and self._trainings == 1
            and observer.flowing_s > _SECOND_TRAINING_AT * settings.run_s
        ):
            records = 1
        else:
            return
        if self._trainings < _TRAININGS_MAX:
            self._trainings += 1
            self._deployment.train(wait_records=records, wait_seconds=120)
