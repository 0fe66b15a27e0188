"""A chaos run: the deployment under load, fault after fault, then the audit."""

import json
import logging
import random
import sys
import time
from collections import Counter
from contextlib import ExitStack, nullcontext

import numpy as np
from rich.console import Console
from rich.live import Live

from contract import records
from contract.topics import ANOMALIES, TELEMETRY, mirrored
from contract.varints import Longs
from loadtest.chaos import auditor, report, volume
from loadtest.chaos.faults import FAULTS
from loadtest.chaos.relay import Relay
from loadtest.chaos.report import Book, Outcome, Progress
from loadtest.chaos.scene import Interrupted, NotBack, Scene, Skipped
from loadtest.chaos.settings import Settings
from loadtest.chaos.tail import Tail, recovered_at
from local import champion, ledger, preflight
from local.deployment import Deployment
from local.watch import scrape
from plumbing import kafka, life, log
from plumbing.life import WorldDown

_VOLUME_MIB = 1_536
_FLOWING_WITHIN_S, _MODEL_WITHIN_S, _DRAINED_WITHIN_S = 120.0, 240.0, 120.0
_RECOVERED_WITHIN_S = 90.0  # or longer than is allowed, so that the figure of a slow recovery is known
_HOLD_S = 3.0  # all stages in time for so long: recovered
_JITTER_S = 2.0  # of a fault's moment
_LINE_EVERY_S = 5.0
_FIRST_SLICE_S = 20


def main(told: Settings) -> int:
    """The exit status: 0 where every guarantee held."""
    log.configure("chaos", "text")
    # That a killed broker does not answer is no news here, and the client libraries say it all the time.
    logging.getLogger(kafka.__name__).setLevel(logging.CRITICAL)
    stop = life.Stop().install()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    edge_folder = told.run_dir / "edge"
    volume.release(edge_folder)
    preflight.check_ports({told.plan.ports.scorer(n): f"scorer {n}'s metrics" for n in (1, 2)})
    deployment = Deployment(told.plan)
    with ExitStack() as ending:
        own_disk: volume.Volume | str = "not asked for"
        if "disk-full" in told.chosen:
            try:
                own_disk = volume.Volume(edge_folder, told.run_dir / "edge.img", _VOLUME_MIB)
                ending.callback(own_disk.close)
            except WorldDown as error:
                own_disk = str(error)
        relay = Relay(told.plan.ports.relay, told.plan.ports.edge_far)
        ending.callback(relay.close)
        ending.callback(deployment.stop)
        run = Run(told, deployment, console)
        run.scene = Scene(deployment, relay, own_disk, stop, run.look)
        ending.callback(run.close)
        try:
            run.start()
        except Interrupted:
            console.print("interrupted before anything was injected")
            return 1
        book = run.to_the_end()
    path = told.run_dir / "ledger.json"
    path.write_text(json.dumps(book.as_dict(), indent=2) + "\n", encoding="utf-8")
    report.show(book, console)
    console.print(f"written to {path}; logs in {told.run_dir}/logs")
    return 1 if book.broken else 0


class Run:
    """One run. `scene` is set before `start`, the tail by it."""

    scene: Scene

    def __init__(self, told: Settings, deployment: Deployment, console: Console) -> None:
        self._told, self._deployment, self._console = told, deployment, console
        self._outcomes: list[Outcome] = []
        self._skipped: dict[str, str] = {}
        self._began_at = time.time()
        self._chance = random.Random(told.seed)
        self._tail: Tail | None = None
        self._live: Live | None = None
        self._line_at = 0.0
        self._told_events = 0
        self._doing = "starting"
        self._sampled = 0
        self._samples: dict[str, int] = {}

    def start(self) -> None:
        """Everything up, with a model, and nothing behind. Raises WorldDown."""
        told, deployment = self._told, self._deployment
        deployment.start(self._console.print)
        self._tail = Tail(
            deployment.edge.bootstrap,
            deployment.cloud.bootstrap,
            [f"car-{number:06d}" for number in range(told.cars)],
        )
        try:
            self._model()
            self._doing = "waiting until every stage keeps pace"
            self.scene.until(
                lambda: recovered_at(self.tail.timeline, self._began_at, told.bound_s, _HOLD_S),
                "every record reaches every stage in time",
                _FLOWING_WITHIN_S,
            )
        except NotBack as error:
            raise WorldDown(str(error)) from error
        self._began_at = time.time()

    def close(self) -> None:
        """Stop reading along."""
        if self._tail is not None:
            self._tail.close()

    @property
    def tail(self) -> Tail:
        """Reads along since `start`."""
        assert self._tail is not None
        return self._tail

    def _model(self) -> None:
        told, cloud = self._told, self._deployment.cloud.bootstrap
        if champion.publish(cloud, told.model) is None:
            self._doing = "training the first model"
            child = self._deployment.train(wait_records=int(told.rate * _FIRST_SLICE_S), wait_seconds=120)
            self.scene.until(lambda: child.process is None, "the first training ends", _MODEL_WITHIN_S)
            if child.status != 0:
                lines = self._deployment.supervisor.last_lines(child.name)
                raise WorldDown(f"the first training ended with status {child.status}:\n{lines}")
            champion.keep(cloud, told.model)
        self._doing = "waiting for the scorer to use the model"
        self.scene.until(lambda: self.scene.scorer_metric(0, "scorer_model_version"), "a model is in use")

    def to_the_end(self) -> Book:
        """Faults, load until there are enough messages, drain, audit."""
        incomplete = ""
        shown = Live(console=self._console, auto_refresh=False, transient=True)
        with shown if self._console.is_terminal else nullcontext() as live:
            self._live = live
            try:
                for name in self._told.chosen:
                    self._inject(name)
                self._doing = "load until there are enough messages"
                self.scene.until(lambda: self._messages >= self._told.messages, "messages enough", 3600)
                self._drain()
            except Interrupted:
                incomplete = "interrupted"
            except NotBack as error:
                incomplete = str(error)
            self._live = None
        if incomplete:  # what there is is audited all the same
            self._deployment.supervisor.stop("simulator")
        self._console.print("reading both clusters' logs for the audit")
        return self._audit(incomplete)

    def _inject(self, name: str) -> None:
        scene = self.scene
        self._doing = f"before {name}"
        scene.wait(self._chance.uniform(0, _JITTER_S))
        self._doing = name
        scene.broken, scene.returned_at = [], None
        outcome = Outcome(name, time.time(), broken=scene.broken)
        self._outcomes.append(outcome)
        try:
            FAULTS[name](scene)
            outcome.returned_at = scene.returned_at or time.time()
            self._doing = f"{name}, recovering"
            within_s = max(_RECOVERED_WITHIN_S, 1.5 * self._told.recovery_s_max)
            scene.until(lambda: self._recovered(outcome), "recovered", within_s)
        except Skipped as why:
            self._outcomes.remove(outcome)
            self._skipped[name] = str(why)
            self._console.print(f"[bold yellow]SKIPPED {name}: {why}[/]")
            return
        except (NotBack, WorldDown) as error:
            outcome.broken.append(str(error))
        shown = "not" if outcome.recovery_s is None else f"{outcome.recovery_s:.1f} s after its return"
        away = f"{outcome.away_s:.1f} s" if outcome.away_s is not None else "for good"
        self._console.print(f"{name}: away {away}, recovered {shown}")
        for what in outcome.broken:
            self._console.print(f"[bold red]{name}: {what}[/]")

    def _recovered(self, outcome: Outcome) -> bool:
        assert outcome.returned_at is not None
        bound_s = self._told.bound_s
        outcome.recovered_at = recovered_at(self.tail.timeline, outcome.returned_at, bound_s, _HOLD_S)
        return outcome.recovered_at is not None

    def _drain(self) -> None:
        """End the fleet and wait until every stage holds what edge Kafka does."""
        self._doing = "ending the fleet, waiting for the last records"
        self._note_samples()
        self._deployment.supervisor.stop("simulator")
        rows, still_since = dict(self.tail.rows), time.monotonic()

        def drained() -> bool:
            nonlocal rows, still_since
            if rows != self.tail.rows:
                rows, still_since = dict(self.tail.rows), time.monotonic()
            # More than the edge has, the cloud must not have either; but that is the auditor's to say.
            everywhere = min(rows.values()) >= rows["edge"]
            return everywhere and time.monotonic() - still_since > _HOLD_S

        self.scene.until(drained, "every stage has what edge Kafka has", _DRAINED_WITHIN_S)

    def _audit(self, incomplete: str) -> Book:
        edge_at, cloud_at = self._deployment.edge.bootstrap, self._deployment.cloud.bootstrap
        self.tail.close()
        published = self._deployment.published()
        edge = ledger.read_log(edge_at, TELEMETRY, published).sorted()
        cloud = ledger.read_log(cloud_at, mirrored("edge", TELEMETRY), published)
        findings = auditor.audit(published, edge, auditor.Runs.of(ledger.read_audits(edge_at)), cloud)
        return Book(
            published=published,
            edge=edge,
            findings=findings,
            arrived={
                "edge": _arrivals(edge.record, *self.tail.first_arrivals("edge")),
                "scored": findings.scoring.at,
                "cloud": _arrivals(edge.record, *self.tail.first_arrivals("cloud")),
            },
            outcomes=self._outcomes,
            skipped=self._skipped,
            began_at=self._began_at,
            bound_s=self._told.bound_s,
            recovery_s_max=self._told.recovery_s_max,
            beside={"anomalies_repeated": _repeated_anomalies(edge_at), **self._samples},
            incomplete=incomplete,
        )

    @property
    def _messages(self) -> int:
        self._note_samples()
        return self._sampled

    def _note_samples(self) -> None:
        seen = scrape(self._deployment.plan.ports.simulator)
        if seen:
            self._sampled = int(seen["simulator_samples_total"])
            self._samples["samples_skipped"] = int(seen["simulator_samples_skipped_total"])

    def look(self) -> None:
        """Show what goes on; called while time passes."""
        events = self._deployment.supervisor.events
        for event in events[self._told_events :]:
            self._console.print(f"[dim]{event}[/]")
        self._told_events = len(events)
        interval_s = 0.5 if self._live is not None else _LINE_EVERY_S
        if time.monotonic() - self._line_at < interval_s:
            return
        self._line_at = time.monotonic()
        progress = self._progress()
        if self._live is not None:
            self._live.update(progress.render(), refresh=True)
        else:
            self._console.print(progress.line(), soft_wrap=True)

    def _progress(self) -> Progress:
        return Progress(
            messages=self._messages,
            messages_wanted=self._told.messages,
            faults=len(self._told.chosen),
            began_at=self._began_at,
            behind_s=self._tail.behind_s if self._tail else (0.0, 0.0, 0.0),
            outcomes=self._outcomes,
            doing=self._doing,
        )


def _arrivals(record: Longs, known: Longs, at: Longs) -> Longs:
    """When each record (n,) was there first, ms; -1: repeated, or none of the `known` (m,), sorted."""
    if not len(known):
        return np.full(len(record), -1, np.int64)
    place = np.minimum(np.searchsorted(known, record), len(known) - 1)
    there = (known[place] == record) & auditor.first_occurrences(record)
    found: Longs = np.where(there, at[place], -1)
    return found


def _repeated_anomalies(edge_bootstrap: str) -> int:
    """Anomalies that stand in their topic more than once."""
    counts: Counter[tuple[str, int]] = Counter()
    for batch in ledger.read_topic(edge_bootstrap, ANOMALIES):
        for message in batch:
            _, anomaly = records.decode(message.value())
            counts[anomaly["car_id"], anomaly["seq"]] += 1
    return sum(counts.values()) - len(counts)
