"""The demo: the whole deployment for some minutes, live, then the ledger and the scorecard."""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from local import ledger, scorecard, screen
from local.deployment import TRAINER, Deployment
from local.ledger import Stage
from local.watch import Watch, scrape
from plumbing.life import Stop
from plumbing.settings import setting

_log = logging.getLogger("demo")

_TICK_S = 0.5
_LINE_EVERY_S = 5.0
_DRAIN_S = 90.0
_LATENCY_WINDOW_S = 30.0
_RATE_WINDOW_S = 5.0
# Seconds of telemetry in the first model's slice; when the gate refuses it, the next one takes twice as much.
_FIRST_SLICE_S = 20
# The second training, on all there is, begins at this share of the run.
_SECOND_TRAINING_AT = 0.55
_TRAININGS_MAX = 4
_MARKS = {"ready": "[green]●[/]", "starting": "[yellow]○[/]", "waiting": "[red]↻[/]", "ended": "[dim]·[/]"}
_TRAINER_SAYS: dict[int | None, str] = {0: "published", 3: "refused by the gate"}


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
    def ageing(self) -> float:
        """So that slow faults (4 to 50 hours) show within the run: the middle of them takes half of it."""
        return 40 * 60 / self.minutes

    @property
    def healthy_s(self) -> float:
        """No fault begins while the first model's slice is taken, as no fleet is commissioned with faults."""
        return _FIRST_SLICE_S + 20.0


@dataclass
class Moments:
    """When what happened, s since 1970."""

    started: float
    telemetry: float | None = None
    first_model: float | None = None
    caught_up: float | None = None
    rates: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def rate(self, stage: str, total: float, now: float) -> float:
        """Messages a second over the last seconds."""
        points = self.rates.setdefault(stage, [])
        points.append((now, total))
        while now - points[0][0] > _RATE_WINDOW_S:
            points.pop(0)
        (then, before), elapsed = points[0], now - points[0][0]
        del then
        return max(0.0, (total - before) / elapsed) if elapsed > 0 else 0.0


class Demo:
    """One run, from the brokers to the scorecard."""

    def __init__(self, settings: Settings, deployment: Deployment, console: Console, stop: Stop) -> None:
        self._settings = settings
        self._deployment = deployment
        self._console = console
        self._stop = stop
        self._moments = Moments(settings.started_at or time.time())
        self._trainings = 0
        self._memory_mib_max = 0.0
        self._told_events = 0

    def run(self) -> int:
        """The exit status: 0 where records flowed and nothing was lost."""
        deployment = self._deployment
        deployment.start(self._console.print)
        watch = Watch(deployment.edge.bootstrap, deployment.cloud.bootstrap)
        try:
            self._show_live(watch)
            self._drain(watch)
            to_s = time.time()
            self._console.print("reading both clusters' logs for the ledger")
            audits = ledger.read_audits(deployment.edge.bootstrap)
            stages = ledger.reconcile(
                deployment.published(), audits, deployment.edge.bootstrap, deployment.cloud.bootstrap
            )
        finally:
            watch.close()
        return self._conclude(stages, self._model_hops(watch, ledger.first_batches(audits)), watch, to_s)

    def _show_live(self, watch: Watch) -> None:
        line_at = 0.0
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while not self._stop.requested and not self._time_is_up():
                self._deployment.supervisor.tick()
                self._tell_events()
                picture = self._picture(watch, "telemetry flows")
                self._train_when_due()
                if self._console.is_terminal:
                    live.update(screen.render(picture), refresh=True)
                elif time.monotonic() - line_at >= _LINE_EVERY_S:
                    line_at = time.monotonic()
                    self._console.print(screen.line(picture), soft_wrap=True, highlight=False)
                time.sleep(_TICK_S)

    def _time_is_up(self) -> bool:
        began = self._moments.telemetry
        return began is not None and time.time() >= began + 60 * self._settings.minutes

    def _train_when_due(self) -> None:
        """The first model as soon as there is some telemetry; a second one, on more, challenges it later."""
        moments, settings = self._moments, self._settings
        earlier = self._deployment.supervisor.children.get(TRAINER)
        if moments.telemetry is None or (earlier is not None and earlier.process is not None):
            return
        if self._trainings == 0 or (
            moments.first_model is None and earlier is not None and earlier.status != 0
        ):
            records = int(settings.cars * settings.rate_hz * _FIRST_SLICE_S * 2**self._trainings)
        elif moments.caught_up and self._trainings == 1 and self._share_done > _SECOND_TRAINING_AT:
            records = 1
        else:
            return
        if self._trainings < _TRAININGS_MAX:
            self._trainings += 1
            self._deployment.train(wait_records=records, wait_seconds=120)

    @property
    def _share_done(self) -> float:
        return (time.time() - (self._moments.telemetry or time.time())) / (60 * self._settings.minutes)

    def _picture(self, watch: Watch, doing: str) -> screen.Picture:
        """Ask everything once and note the moments that are reached."""
        plan, ports, seen, now = self._deployment.plan, self._deployment.plan.ports, watch.seen, time.time()
        fleet, bridge = scrape(ports.simulator), scrape(ports.bridge(0))
        scorers = [scrape(ports.scorer(number)) for number in range(plan.scorers)]
        totals = {
            "cars": fleet.get("simulator_acknowledged_messages_total", 0),
            "edge": bridge.get("bridge_acknowledged_messages_total", 0),
            "scored": sum(s.get("scorer_scored_records_total", 0) for s in scorers),
            "cloud": seen.cloud_records,
        }
        waiting = {
            "cars": fleet.get("simulator_unacknowledged_messages", 0),
            "edge": bridge.get("bridge_in_flight_messages", 0),
            "scored": max(0.0, totals["edge"] - totals["scored"]),
            "cloud": max(0.0, totals["edge"] - totals["cloud"]),
        }
        names = {
            "cars": ("cars to MQTT", ("simulator", *(f"mqtt-{shard}" for shard in range(plan.mqtt_shards)))),
            "edge": ("MQTT to edge Kafka", ("bridge", "edge")),
            "scored": ("edge Kafka to scores", tuple(f"scorer-{number}" for number in range(plan.scorers))),
            "cloud": ("edge to cloud Kafka", ("mirror", "cloud")),
        }
        rows = [
            screen.Row(
                title,
                self._moments.rate(key, totals[key], now),
                int(totals[key]),
                int(waiting[key]),
                self._states(by),
            )
            for key, (title, by) in names.items()
        ]
        version = int(min((s.get("scorer_model_version", 0) for s in scorers), default=0))
        self._note(totals, waiting["scored"], version, now)
        memory_mib = self._deployment.supervisor.memory_mib()
        self._memory_mib_max = max(self._memory_mib_max, memory_mib)
        return screen.Picture(
            elapsed_s=now - (self._moments.telemetry or now),
            duration_s=60 * self._settings.minutes,
            doing=doing,
            cars_connected=min(plan.cars, int(fleet.get("simulator_connected_clients", 0))),
            cars=plan.cars,
            rows=rows,
            model_version=version,
            trainer=self._trainer_state(),
            latency=watch.latency(max(self._moments.caught_up or now, now - _LATENCY_WINDOW_S)),
            anomalies=seen.anomalies,
            recent=list(seen.recent),
            memory_mib=memory_mib,
            restarts=self._deployment.supervisor.restarts,
        )

    def _note(self, totals: dict[str, float], behind: float, version: int, now: float) -> None:
        moments, plan = self._moments, self._deployment.plan
        if moments.telemetry is None and totals["edge"]:
            moments.telemetry = now
            self._console.print(f"telemetry in edge Kafka after {now - moments.started:.1f} s")
        if moments.first_model is None and version:
            moments.first_model = now
            self._console.print(f"first model in use by all scorers after {now - moments.started:.1f} s")
        if moments.caught_up is None and version and behind < plan.cars * plan.rate_hz:
            moments.caught_up = now
            self._console.print(f"scorers caught up with the log after {now - moments.started:.1f} s")

    def _states(self, names: Sequence[str]) -> str:
        marks = {
            "ready": "[green]●[/]",
            "starting": "[yellow]○[/]",
            "waiting": "[red]↻[/]",
            "ended": "[dim]·[/]",
        }
        children = self._deployment.supervisor.children
        return " ".join(f"{marks[children[n].state]} {n}" for n in names if n in children)

    def _trainer_state(self) -> str:
        child = self._deployment.supervisor.children.get(TRAINER)
        if child is None:
            return "waits for telemetry"
        if child.process is None:
            meaning = {0: "published", 3: "refused by the gate"}.get(
                child.status or 0, f"status {child.status}"
            )
            return f"training {self._trainings} ended: {meaning}"
        last = self._deployment.supervisor.last_lines(TRAINER).rpartition("\n")[2]
        return f"training {self._trainings}: {last[:90]}"

    def _tell_events(self) -> None:
        events = self._deployment.supervisor.events
        for event in events[self._told_events :]:
            self._console.print(f"[red]{event}[/]")
        self._told_events = len(events)

    def _drain(self, watch: Watch) -> None:
        """End the fleet, then wait until what it sent has passed every stage."""
        self._console.print("ending the fleet, then waiting for the last records")
        self._deployment.supervisor.stop("simulator")
        sent = int(self._deployment.published().sent.sum())
        deadline = time.monotonic() + _DRAIN_S
        while time.monotonic() < deadline:
            self._deployment.supervisor.tick()
            picture = self._picture(watch, "draining")
            totals = [row.total for row in picture.rows[1:]]
            if min(totals) >= sent and picture.rows[1].waiting == 0:
                break
            time.sleep(_TICK_S)
        time.sleep(2 * _TICK_S)  # audit records follow the last scores within milliseconds

    @staticmethod
    def _model_hops(watch: Watch, first_batches: dict[int, dict[str, float]]) -> list[dict[str, Any]]:
        """Of each model, ms from its publication: to the edge, and to the first batch of each replica."""
        return [
            {
                "version": arrival.version,
                "to_edge_ms": round(1000 * (arrival.at_edge - arrival.published_at)),
                "to_first_batch_ms": {
                    scorer: round(1000 * (at - arrival.published_at))
                    for scorer, at in sorted(first_batches.get(arrival.version, {}).items())
                },
            }
            for arrival in watch.seen.models
        ]

    def _conclude(
        self, stages: Sequence[Stage], models: list[dict[str, Any]], watch: Watch, to_s: float
    ) -> int:
        moments, seen, run_dir = self._moments, watch.seen, self._deployment.plan.run_dir
        latency = watch.latency(moments.caught_up or to_s)
        card = scorecard.draw_up(
            self._deployment.truth(), seen.times_by_car, cars=self._settings.cars,
            from_s=moments.telemetry or to_s, to_s=to_s,
        )  # fmt: skip
        first = seen.first_anomaly_at
        book = {
            "stages": [stage.as_dict() for stage in stages],
            "seconds_to_telemetry": _since(moments.started, moments.telemetry),
            "seconds_to_first_model": _since(moments.started, moments.first_model),
            "seconds_to_first_anomaly": _since(moments.started, first),
            "car_to_anomaly_ms": {"p50": latency.p50_ms, "p99": latency.p99_ms, "anomalies": latency.count},
            "models": models,
            "memory_mib": round(self._memory_mib_max),
            "restarts": self._deployment.supervisor.restarts,
        }
        (run_dir / "ledger.json").write_text(json.dumps(book, indent=2) + "\n", encoding="utf-8")
        (run_dir / "scorecard.json").write_text(json.dumps(card.as_dict(), indent=2) + "\n", encoding="utf-8")
        self._console.print(screen.anomalies_table(list(seen.recent)))
        screen.show_ledger(self._console, stages)
        screen.show_scorecard(self._console, card)
        self._console.print(
            f"first anomaly after {book['seconds_to_first_anomaly']} s; car to anomaly p50 "
            f"{screen.milliseconds(latency.p50_ms)}, p99 {screen.milliseconds(latency.p99_ms)} "
            f"({latency.count} anomalies since the scorers had caught up); "
            f"{screen.number(self._memory_mib_max)} MiB at most\n"
            f"written to {run_dir / 'ledger.json'} and {run_dir / 'scorecard.json'}; "
            f"logs in {run_dir / 'logs'}"
        )
        return self._verdict(stages)

    def _verdict(self, stages: Sequence[Stage]) -> int:
        lost = [stage.stage for stage in stages if stage.lost]
        if lost:
            self._console.print(f"[bold red]records are lost at: {', '.join(lost)}[/]")
        if self._moments.first_model is None:
            self._console.print(
                "[bold red]no model came into use[/]; the end of "
                f"{self._deployment.supervisor.log_of(TRAINER)}:\n"
                f"{self._deployment.supervisor.last_lines(TRAINER)}",
                highlight=False,
            )
        return 1 if lost or not stages[0].expected else 0


def _since(start: float, moment: float | None) -> float | None:
    return None if moment is None else round(moment - start, 1)
