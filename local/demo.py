"""The demo: the whole deployment for some minutes, live, then the ledger and the scorecard."""

import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live

from contract.foresight import AlertVerdicts
from local import champion, ledger, report, screen
from local.deployment import TRAINER, Deployment, Plan
from local.observer import Observer
from local.watch import Watch
from local.workshop import Workshop, connected
from plumbing.life import Stop
from plumbing.settings import setting

_TICK_S = 0.5
_LINE_EVERY_S = 5.0
# Seconds of telemetry in the first model's slice; a training after a refusal takes twice as much.
_FIRST_SLICE_S = 40
_TRAININGS_MAX = 4  # of the first model; later ones are the watcher's
# Seconds of telemetry after which a part of the fleet changes, see Settings.recalibrated_share.
_CHANGE_S = 85.0
_WATCHED_BUDGET = 0.1  # false alarms a car-week of driving that a trial tolerates
_RECALIBRATED_FACTOR = 1.03  # forty samples a car show less than a fleet of life would: 1 % is no news here
# Cars with an alert come to the workshop after this long.
_INSPECTED_AFTER_S = 2.0
# The trainer needs 50 cars to learn from and 20 each for the threshold and for judging, split 6 : 2 : 2.
CARS_TO_LEARN_FROM = 150
# The last live table of a run, beside its results; docs/demo.svg is one.
SCREEN = "screen.svg"


@dataclass(frozen=True)
class Settings:
    """Flags, environment (DEMO_…) or these defaults."""

    cars: int = setting("how many cars", default=1_000, least=1)
    minutes: float = setting("how long telemetry flows", default=5.0, above=0)
    seed: int = setting("seed of the fleet and of the training", default=1)
    rate_hz: float = setting("samples a second of each car", default=1.0, above=0)
    hours: float = setting("hours of driving and of wear that the run shows", default=100.0, above=0)
    faulty_share: float = setting(
        "share of the cars in which components wear out", default=0.05, least=0, most=1
    )
    false_alarms_per_car_week: float = setting(
        "budget of false alarms per car-week of driving, from which the trainer sets the alarm threshold",
        default=0.01,
        above=0,
    )
    recalibrated_share: float = setting(
        f"share of the cars whose voltage sensor reads 3 % more after {_CHANGE_S:.0f} s; that is no fault, "
        "so a model has to be trained anew; 0: nothing changes",
        default=0.2,
        least=0,
        most=1,
    )
    firmware_share: float = setting(
        "share of the cars that get the next firmware at that time and are learned anew",
        default=0.05,
        least=0,
        most=1,
    )
    scorers: int = setting("scorer replicas", default=2, least=1)
    shards: int = setting("MQTT broker shards; 0: as many as the limit of open files requires", default=0)
    port_offset: int = setting("added to every port, to run beside another deployment", default=0)
    run_dir: Path = setting("logs, state and results; emptied at the start", default=Path("var/demo"))
    started_at: float = setting("when the command was typed, s since 1970; 0: now", default=0.0)

    @property
    def run_s(self) -> float:
        """How long telemetry flows."""
        return 60 * self.minutes

    @property
    def time_lapse(self) -> float:
        """Seconds of driving in a second of the run: in minutes of driving no model can learn a car."""
        return self.hours * 3600 / self.run_s

    @property
    def horizon_s(self) -> float:
        """An alert is right where its car fails within half of the run; so alerts of the first half count."""
        return self.run_s / 2

    @property
    def report_s(self) -> float:
        """A workshop reports a failure within an hour of driving; 2 s for its way."""
        return 3600 / self.time_lapse + 2

    @property
    def plan(self) -> Plan:
        """The deployment. No fault begins while the telemetry of the first model's slice is gathered."""
        return Plan(
            run_dir=self.run_dir,
            cars=self.cars,
            rate_hz=self.rate_hz,
            seed=self.seed,
            faulty_share=self.faulty_share,
            ageing=self.time_lapse,
            healthy_s=_FIRST_SLICE_S + 5.0,
            fault_spread_h=6.0,
            time_lapse=self.time_lapse,
            false_alarms_per_car_week=self.false_alarms_per_car_week,
            changes={
                "recalibrated": self.recalibrated_share,
                "recalibrated_factor": _RECALIBRATED_FACTOR,
                "recalibrated_at_s": _CHANGE_S,
                "firmware_share": self.firmware_share,
                "firmware_at_s": _CHANGE_S,
            },
            scorers=self.scorers,
            shards=self.shards,
            port_offset=self.port_offset,
        )


class Demo:
    """One run, from the brokers to the scorecard."""

    def __init__(self, settings: Settings, deployment: Deployment, console: Console, stop: Stop) -> None:
        self._settings = settings
        self._deployment = deployment
        self._console = console
        self._stop = stop
        self._trainings = 0
        self._failures_shown = 0  # the number of the last training whose failure was printed

    def run(self) -> int:
        """The exit status: 0 where records flowed and none was lost."""
        deployment, settings = self._deployment, self._settings
        if settings.cars < CARS_TO_LEARN_FROM:
            self._console.print(
                f"[yellow]{settings.cars} cars are too few to train a model and to judge it "
                f"(about {CARS_TO_LEARN_FROM} are needed): nothing will be scored[/]"
            )
        deployment.start(self._console.print)
        # The trainer's budget here is a tenth of life's, so that few alerts of the short run are false.
        deployment.start_watcher(false_alarms_per_car_week=_WATCHED_BUDGET * settings.time_lapse)
        self._stop.started()
        watch = Watch(deployment.edge.bootstrap, deployment.cloud.bootstrap)
        verdicts = AlertVerdicts(settings.horizon_s, settings.report_s)
        started_at = settings.started_at or time.time()
        observer = Observer(deployment, watch, self._console, started_at, settings.run_s, foresight=verdicts)
        try:
            self._show_live(observer)
            observer.drain()
            self._console.print("reading the logs of both clusters for the ledger")
            audits = ledger.read_audits(deployment.edge.bootstrap)
            stages = ledger.reconcile(
                deployment.published(), audits, deployment.edge.bootstrap, deployment.cloud.bootstrap
            )
            champion.keep(deployment.cloud.bootstrap, champion.KEPT)  # `make scale` starts with it
        finally:
            if observer.workshop:
                observer.workshop.close()
            watch.close()
        return report.show(self._console, deployment, observer, stages, ledger.first_batches(audits))

    def _show_live(self, observer: Observer) -> None:
        console, line_at, picture = self._console, 0.0, None
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while not self._stop.requested and observer.flowing_s < self._settings.run_s:
                self._deployment.supervisor.tick()
                picture = observer.look()
                self._open_workshop(observer)
                self._train_when_due(observer)
                if console.is_terminal:
                    live.update(screen.render(picture, console.width, console.height), refresh=True)
                elif time.monotonic() - line_at >= _LINE_EVERY_S:
                    line_at = time.monotonic()
                    console.print(screen.line(picture), soft_wrap=True)
                time.sleep(_TICK_S)
        if picture is not None:
            (self._settings.run_dir / SCREEN).write_text(screen.as_svg(picture), encoding="utf-8")

    def _open_workshop(self, observer: Observer) -> None:
        """Inspect cars that have an alert, once there can be any."""
        if observer.workshop is None and observer.moments.first_model:
            client = connected("127.0.0.1", self._deployment.plan.ports.mqtt(0))
            observer.workshop = Workshop(
                self._deployment.truth(), client, delay_s=_INSPECTED_AFTER_S, seed=self._settings.seed
            )

    def _train_when_due(self, observer: Observer) -> None:
        """Train the first model once there is enough telemetry, on more of it after each failure."""
        settings, moments = self._settings, observer.moments
        earlier = self._deployment.supervisor.children.get(TRAINER)
        if moments.telemetry is None or (earlier is not None and earlier.process is not None):
            return
        failed = earlier is not None and earlier.status != 0
        if failed and self._failures_shown < self._trainings:
            self._failures_shown = self._trainings
            self._console.print(f"[red]training {self._trainings}: {observer.trainer_state()}[/]")
        wanted = self._trainings == 0 or (moments.first_model is None and failed)
        if wanted and self._trainings < _TRAININGS_MAX:
            records = int(settings.cars * settings.rate_hz * _FIRST_SLICE_S * 2**self._trainings)
            self._trainings += 1
            self._deployment.train(wait_records=records, wait_seconds=120)
