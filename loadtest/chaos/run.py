"""A chaos run: the deployment under load, fault after fault, then the audit."""

import logging
import random
import sys
import time
from contextlib import ExitStack

from rich.console import Console

from contract import records
from contract.topics import ANOMALIES, TELEMETRY, mirrored
from loadtest import deployment as tested
from loadtest import output
from loadtest.chaos import auditor, by_rule, pairs, report, retention, volume
from loadtest.chaos.follower import STAGES, LogFollower, recovered_at, with_deleted
from loadtest.chaos.pairs import Injection
from loadtest.chaos.report import ChaosResults, FaultOutcome
from loadtest.chaos.scene import RunInterrupted, Scene, Skipped
from loadtest.chaos.settings import Settings
from loadtest.chaos.small_fleet import NAME as SMALL_FLEET
from loadtest.chaos.small_fleet import SmallFleet
from local import ledger, preflight
from local.deployment import ENVIRONMENT, Deployment
from local.screen import clock, number
from local.supervisor import Child
from local.watch import scrape
from plumbing import kafka, life, log
from plumbing.life import WorldDown

_VOLUME_MIB = 1_536
_MIRROR_WATCH = "mirror-watch"
_FLOWING_WITHIN_S, _DRAINED_WITHIN_S, _MESSAGES_WITHIN_S = 120.0, 120.0, 3_600.0
_RECOVERED_WITHIN_S = 90.0  # at least, so that the duration of a slow recovery is known
_HOLD_S = 3.0  # recovered: all stages keep pace for this long
_JITTER_S = 2.0  # a fault begins at a random moment of this time


def main(settings: Settings) -> int:
    """Exit status 0 where every guarantee held."""
    log.configure("chaos", "text")
    # The client libraries report each time that a killed broker does not answer, which is expected here.
    logging.getLogger(kafka.__name__).setLevel(logging.CRITICAL)
    console, plan, edge_folder = output.console(150), settings.plan, settings.run_dir / "edge"
    volume.release(edge_folder)
    more = {plan.ports.scorer(n): f"scorer {n}'s metrics" for n in (1, 2)}
    preflight.check_ports(more | {plan.ports.small_fleet: "the small fleet's metrics"})
    tested.ensure_model(settings.model, settings.run_dir, settings.port_offset, console.print)
    stop = life.Stop().install()
    deployment = Deployment(plan)
    with ExitStack() as at_end:
        own_disk: volume.Volume | str = "not asked for"
        if any("disk-full" in injection.faults for injection in settings.injections):
            try:
                own_disk = volume.Volume(edge_folder, settings.run_dir / "edge.img", _VOLUME_MIB)
                at_end.callback(own_disk.close)
            except WorldDown as error:
                own_disk = str(error)
        at_end.callback(deployment.stop)
        for hop in plan.relayed:
            relay = [sys.executable, "-m", "loadtest.relay", *map(str, plan.ports.hop(hop))]
            deployment.supervisor.start(Child(f"relay-{hop}", relay, env=ENVIRONMENT))
        run = ChaosRun(settings, deployment, console)
        pace = pairs.PACE if settings.pairs else 1.0
        run.scene = Scene(
            deployment, own_disk, stop, run.observe,
            model=settings.model, small_fleet=run.small_fleet, pace=pace,
        )  # fmt: skip
        try:
            run.start(at_end)
        except RunInterrupted:
            console.print("interrupted before any fault was injected")
            return 1
        results = run.finish()
    output.write_json(settings.run_dir / "ledger.json", results.as_dict())
    report.show(results, console)
    console.print(f"written to {settings.run_dir}/ledger.json; logs in {settings.run_dir}/logs")
    return 1 if results.broken else 0


class ChaosRun:
    """One run. `scene` must be set before `start`."""

    scene: Scene
    follower: LogFollower  # follows the logs from `start` on

    def __init__(self, settings: Settings, deployment: Deployment, console: Console) -> None:
        self._settings, self._deployment, self._console = settings, deployment, console
        self.small_fleet = SmallFleet(deployment, settings.small_fleet) if settings.small_fleet else None
        self._outcomes: list[FaultOutcome] = []
        self._skipped: dict[str, str] = {}
        self._began_at = time.time()
        self._random = random.Random(settings.seed)
        self._line = output.ProgressLine(console)
        self._events_shown = 0
        self._activity = "starting"
        self._sampled = self._samples_skipped = 0

    def start(self, at_end: ExitStack) -> None:
        """Return when everything runs and nothing is behind. Raises WorldDown."""
        settings, deployment = self._settings, self._deployment
        tested.start(deployment, settings.model, self._console.print)
        deployment.start_simulator()
        if self.small_fleet:
            self.small_fleet.start()
            deployment.start_mirror_watch(look_every_s=retention.LOOK_EVERY_S)
        car_ids = [f"car-{number:06d}" for number in range(settings.cars)]
        self.follower = LogFollower(deployment.edge.bootstrap, deployment.cloud.bootstrap, car_ids)
        self.scene.follower = self.follower
        at_end.callback(self.follower.close)
        self._activity = "waiting until every stage keeps pace"
        self.scene.until(
            lambda: recovered_at(self.follower.timeline, self._began_at, settings.bound_s, _HOLD_S),
            "every record reaches every stage in time",
            _FLOWING_WITHIN_S,
        )
        self._began_at = time.time()

    def finish(self) -> ChaosResults:
        """Inject the faults, go on until there are enough messages, drain, audit."""
        incomplete = ""
        with self._line:
            try:
                for injection in self._settings.injections:
                    self._inject(injection)
                self._activity = "load until there are enough messages"
                self.scene.until(self._enough_messages, "enough messages were sent", _MESSAGES_WITHIN_S)
                self._drain()
            except RunInterrupted:
                incomplete = "interrupted"
            except WorldDown as error:
                incomplete = str(error)
        if incomplete:  # what was sent until then is audited nevertheless
            self._end_fleet()
        self._console.print("reading both clusters' logs for the audit")
        return self._audit(incomplete)

    def _inject(self, injection: Injection) -> None:
        scene, name = self.scene, str(injection)
        self._activity = f"before {name}"
        scene.wait(self._random.uniform(0, _JITTER_S))
        self._activity = name
        scene.broken, scene.returned_at = [], None
        outcome = FaultOutcome(name, time.time(), broken=scene.broken)
        self._outcomes.append(outcome)
        try:
            injection.inject(scene)
            outcome.returned_at = scene.returned_at or time.time()
            self._activity = f"{name}, recovering"
            within_s = max(_RECOVERED_WITHIN_S, 1.5 * self._settings.recovered_within_s)
            scene.until(lambda: self._recovered(outcome), "recovered", within_s)
        except Skipped as why:
            self._outcomes.remove(outcome)
            self._skipped[name] = str(why)
            self._console.print(f"[bold yellow]SKIPPED {name}: {why}[/]")
            return
        except WorldDown as error:
            outcome.broken.append(str(error))
        away = f"{outcome.away_s:.1f} s" if outcome.away_s is not None else "for good"
        recovery = "not" if outcome.recovery_s is None else f"{outcome.recovery_s:.1f} s after its return"
        self._console.print(f"{name}: away {away}, recovered {recovery}")
        for what in outcome.broken:
            self._console.print(f"[bold red]{name}: {what}[/]")

    def _recovered(self, outcome: FaultOutcome) -> bool:
        assert outcome.returned_at is not None
        timeline, bound_s = self.follower.timeline, self._settings.bound_s
        outcome.recovered_at = recovered_at(timeline, outcome.returned_at, bound_s, _HOLD_S)
        return outcome.recovered_at is not None

    def _end_fleet(self) -> None:
        for name in {"simulator", SMALL_FLEET} & self._deployment.supervisor.children.keys():
            self._deployment.supervisor.stop(name)

    def _drain(self) -> None:
        """End the fleet, then wait until every stage has what edge Kafka has."""
        self._activity = "ending the fleet, waiting for the last records"
        self._count_samples()
        self._end_fleet()
        logs = self._deployment.supervisor.logs
        rows, unchanged_since = dict(self.follower.rows), time.monotonic()

        def drained() -> bool:
            nonlocal rows, unchanged_since
            if rows != self.follower.rows:
                rows, unchanged_since = dict(self.follower.rows), time.monotonic()
            # A stage with more rows than the edge is wrong as well, which is for the auditor to find.
            uncopied = by_rule.records_in(by_rule.deleted(logs, _MIRROR_WATCH))
            everywhere = min(rows["scored"], rows["cloud"] + uncopied) >= rows["edge"]
            return everywhere and time.monotonic() - unchanged_since > _HOLD_S

        self.scene.until(drained, "every stage has what edge Kafka has", _DRAINED_WITHIN_S)

    def _audit(self, incomplete: str) -> ChaosResults:
        edge_at, cloud_at = self._deployment.edge.bootstrap, self._deployment.cloud.bootstrap
        self.follower.close()
        published = self.small_fleet.and_others() if self.small_fleet else self._deployment.published()
        logs = self._deployment.supervisor.logs
        held = ledger.read_log(edge_at, TELEMETRY, published)
        edge = with_deleted(held, self.follower.edge_log()).sorted()
        cloud = ledger.read_log(cloud_at, mirrored("edge", TELEMETRY), published)
        ranges = auditor.AuditedRanges.from_records(ledger.read_audits(edge_at))
        findings = auditor.audit(
            published, edge, ranges, cloud,
            refused=by_rule.refused(edge_at, published.car_ids),
            skipped=by_rule.deleted(logs, "scorer"),
            uncopied=by_rule.deleted(logs, _MIRROR_WATCH),
        )  # fmt: skip
        return ChaosResults(
            published=published,
            edge=edge,
            findings=findings,
            arrived={
                "edge": self.follower.first_arrivals("edge", edge.record),
                "scored": findings.scoring.at,
                "cloud": self.follower.first_arrivals("cloud", edge.record),
            },
            outcomes=self._outcomes,
            skipped=self._skipped,
            began_at=self._began_at,
            settings=self._settings,
            counts={
                "anomalies_repeated": _repeated_anomalies(edge_at),
                "samples_skipped": self._samples_skipped,
            },
            incomplete=incomplete,
        )

    def _enough_messages(self) -> bool:
        self._count_samples()
        return self._sampled >= self._settings.messages

    def _count_samples(self) -> None:
        """Remember the fleet's counters, which are gone when it ends."""
        ports = self._deployment.plan.ports
        if metrics := scrape(ports.simulator):
            more = scrape(ports.small_fleet) if self.small_fleet else {}
            self._sampled, self._samples_skipped = (
                int(metrics[name] + more.get(name, 0))
                for name in ("simulator_samples_total", "simulator_samples_skipped_total")
            )

    def observe(self) -> None:
        """Show the progress; called while time passes."""
        events = self._deployment.supervisor.events
        for event in events[self._events_shown :]:
            self._console.print(f"[dim]{event}[/]")
        self._events_shown = len(events)
        self._line.show(self._progress)

    def _progress(self) -> str:
        """Time, messages, how far each stage is behind, and what the run is doing."""
        self._count_samples()
        lags = zip(STAGES, self.follower.behind_s, strict=True)
        behind = ", ".join(f"{stage} {min(lag_s, 9999):.1f} s" for stage, lag_s in lags)
        return (
            f"{clock(time.time() - self._began_at)} | {number(self._sampled)} of "
            f"{number(self._settings.messages)} messages | behind: {behind} | "
            f"fault {len(self._outcomes)} of {len(self._settings.injections)}: {self._activity}"
        )


def _repeated_anomalies(edge_bootstrap: str) -> int:
    """Repetitions of anomalies in their topic."""
    batches = ledger.read_topic(edge_bootstrap, ANOMALIES)
    anomalies = [records.decode(message.value())[1] for batch in batches for message in batch]
    return len(anomalies) - len({(anomaly["car_id"], anomaly["seq"]) for anomaly in anomalies})
