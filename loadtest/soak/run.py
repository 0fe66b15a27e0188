"""A soak run: start, look at everything every few seconds, end the fleet, count what has arrived."""

import time
from dataclasses import replace

from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from rich.console import Console

from contract.topics import cloud_topics, edge_topics
from loadtest import deployment as tested
from loadtest import output
from loadtest.soak import report
from loadtest.soak.counted import LogCounts
from loadtest.soak.report import SoakResults
from loadtest.soak.samples import Sample, folder_use, uses
from loadtest.soak.settings import Settings
from local import screen
from local.deployment import Deployment
from local.ledger import Stage
from local.observer import Observer
from local.watch import Watch
from plumbing.life import Stop

# The watcher keeps the alerts of 30 days. In time lapse these are minutes; a larger fleet has more alerts.
_HISTORY_S = 1_800.0
_TICK_S, _DRAINED_WITHIN_S, _ANSWER_WITHIN_S = 1.0, 60.0, 30.0
# Closed segments are deleted; these topics are small, so their segments must be too.
_SEGMENT_BYTES = 16 * 2**20


class SoakRun:
    """One run of `make soak`."""

    def __init__(self, settings: Settings, deployment: Deployment, console: Console, stop: Stop) -> None:
        self._settings, self._deployment = settings, deployment
        self._console, self._stop = console, stop
        self._samples: list[Sample] = []

    def run(self) -> int:
        """Exit status 0 where every bar was met."""
        deployment, settings = self._deployment, self._settings
        tested.start(deployment, settings.model, self._console.print)
        self._shorten_retention()
        car_ids = [f"car-{number:06d}" for number in range(settings.cars)]
        counts = LogCounts(deployment.edge.bootstrap, deployment.cloud.bootstrap, car_ids)
        watch = Watch(deployment.edge.bootstrap, deployment.cloud.bootstrap)
        try:
            deployment.start_simulator()
            deployment.start_watcher(history_s=_HISTORY_S)
            self._load(Observer(deployment, watch, self._console, time.time(), settings.duration_s))
            self._console.print("ending the fleet, waiting for the last records")
            deployment.supervisor.stop("simulator")
            stages = self._account(counts)
        finally:
            watch.close()
            counts.close()
        results = SoakResults(
            settings=settings,
            samples=self._samples,
            stages=stages,
            restarts=deployment.supervisor.restarts,
            interrupted=self._stop.requested,
        )
        return report.show(results, self._console)

    def _load(self, observer: Observer) -> None:
        """Look at everything, until the time is over or somebody ends the run."""
        settings, progress = self._settings, output.ProgressLine(self._console)
        began, due = time.monotonic(), time.monotonic()
        with progress:
            while not self._stop.requested and time.monotonic() - began < settings.duration_s:
                self._deployment.supervisor.tick()
                picture = observer.look()
                progress.show(lambda picture=picture: screen.line(picture))  # type: ignore[misc]
                if time.monotonic() >= due:
                    due += settings.look_every_s
                    files, disk_mib = folder_use(settings.run_dir)
                    behind = {row.stage: row.waiting for row in picture.rows}
                    at_s = time.monotonic() - began
                    self._samples.append(
                        Sample(at_s, uses(self._deployment.supervisor), files, disk_mib, behind)
                    )
                time.sleep(_TICK_S)

    def _shorten_retention(self) -> None:
        """Let both clusters delete after minutes what they keep for a day or longer."""
        retention_ms = round(60_000 * self._settings.retention_minutes)
        changes = {"retention.ms": str(retention_ms), "segment.bytes": str(_SEGMENT_BYTES)}
        for bootstrap, topics in (
            (self._deployment.edge.bootstrap, edge_topics()),
            (self._deployment.cloud.bootstrap, cloud_topics()),
        ):
            resources = [
                ConfigResource(
                    ResourceType.TOPIC,
                    topic.name,
                    incremental_configs=[
                        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                        for name, value in changes.items()
                    ],
                )
                for topic in topics
                if topic.cleanup_policy == "delete" and topic.retention_hours is not None
            ]
            admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
            for future in admin.incremental_alter_configs(resources).values():
                future.result(timeout=_ANSWER_WITHIN_S)

    def _account(self, counts: LogCounts) -> list[Stage]:
        """The ledger, as soon as every log has what the cars sent, or does not grow any more."""
        published = self._deployment.published()
        deadline = time.monotonic() + _DRAINED_WITHIN_S
        while time.monotonic() < deadline:
            stages = [
                counts.edge.stage("edge_kafka", published),
                counts.cloud.stage("cloud_kafka", published),
            ]
            scored = Stage("scored", stages[0].expected, counts.scored, 0, stages[0].expected - counts.scored)
            stages.insert(1, replace(scored, duplicates=max(0, -scored.lost), lost=max(0, scored.lost)))
            if not any(stage.lost for stage in stages):
                break
            self._deployment.supervisor.tick()
            time.sleep(_TICK_S)
        return stages
