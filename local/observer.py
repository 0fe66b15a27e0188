"""Looks at a running deployment: one picture at a time, and the moments at which something was reached."""

import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console

from local import screen
from local.deployment import TRAINER, Deployment
from local.foresight import AlertVerdicts, ForesightTally
from local.watch import Watch, scrape

_LATENCY_WINDOW_S = 30.0
_RATE_WINDOW_S = 5.0
# Adding up the pages of some gigabytes takes the kernel tens of milliseconds.
_MEMORY_EVERY_S = 5.0
_DRAIN_S, _DRAIN_LOOK_S = 90.0, 0.5
_MARKS = {"ready": "[green]●[/]", "starting": "[yellow]○[/]", "waiting": "[red]↻[/]", "ended": "[dim]·[/]"}
_LOG_KEYS = {"time", "level", "service", "message", "exception"}
_SAID_CHARS_MAX = 100
_TRAINER_SAYS: dict[int | None, str] = {0: "published", 3: "refused by the gate"}


@dataclass
class Moments:
    """When something was reached, s since 1970; None: not yet."""

    started: float
    telemetry: float | None = None
    first_model: float | None = None
    caught_up: float | None = None
    fleet_ended: float | None = None

    def since_start(self, moment: float | None) -> float | None:
        """Seconds from the start to a moment."""
        return None if moment is None else round(moment - self.started, 1)


class Rate:
    """A counter's growth a second, over the last seconds."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, float]] = deque()

    def per_s(self, total: float, now: float) -> float:
        """With the counter's value of now; a counter that began again grows from there."""
        if self._points and total < self._points[-1][1]:
            self._points.clear()
        self._points.append((now, total))
        while now - self._points[0][0] > _RATE_WINDOW_S:
            self._points.popleft()
        since, before = self._points[0]
        return (total - before) / (now - since) if now > since else 0.0


def _sum(replicas: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The metrics of all replicas, added up."""
    names = {name for replica in replicas for name in replica}
    return {name: sum(replica.get(name, 0.0) for replica in replicas) for name in names}


def _cars_connected(fleet: Mapping[str, float]) -> int:
    """Of the connections, all but one workshop a worker."""
    clients, workers = fleet.get("simulator_connected_clients", 0.0), fleet.get("simulator_workers", 0.0)
    return max(0, int(clients - workers))


def _said(line: str) -> str:
    """What a service's JSON log line says; empty for a line of a library."""
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    if not isinstance(entry, dict) or "message" not in entry:
        return ""
    fields = [f"{key} {value}" for key, value in entry.items() if key not in _LOG_KEYS]
    return f"{entry['message']} {', '.join(fields)}"[:_SAID_CHARS_MAX]


class Observer:
    """Asks every service once a look; tells the console what happened since the last."""

    def __init__(
        self,
        deployment: Deployment,
        watch: Watch,
        console: Console,
        started_at: float,
        duration_s: float,
        *,
        foresight: AlertVerdicts | None = None,
    ) -> None:
        self.moments = Moments(started_at)
        self.watch = watch
        self.foresight = foresight or AlertVerdicts()
        # What each service's /metrics said at the last look, by the name of the component, replicas added up.
        self.metrics: dict[str, dict[str, float]] = {}
        self.memory_mib = self.memory_mib_max = self._memory_due = 0.0
        self._deployment = deployment
        self._console = console
        self._duration_s = duration_s
        self._rates = {stage: Rate() for stage in ("cars", "edge", "scored", "cloud")}
        self._told_events = 0

    @property
    def flowing_s(self) -> float:
        """How long telemetry has been reaching edge Kafka."""
        return 0.0 if self.moments.telemetry is None else time.time() - self.moments.telemetry

    def look(self) -> screen.Picture:
        """Everything as it is now."""
        plan, seen, now = self._deployment.plan, self.watch.seen, time.time()
        fleet = scrape(plan.ports.simulator)
        bridge = _sum([scrape(plan.ports.bridge(number)) for number in range(plan.bridges)])
        scorers = [scrape(plan.ports.scorer(number)) for number in range(plan.scorers)]
        self.metrics = {"simulator": fleet, "bridge": bridge, "scorer": _sum(scorers)}
        # The bridge carries the workshops' reports, too: what is followed here is telemetry.
        reports = fleet.get("simulator_workshop_reports_total", 0.0)
        edge = max(0.0, bridge.get("bridge_acknowledged_messages_total", 0.0) - reports)
        scored = self.metrics["scorer"].get("scorer_scored_records_total", 0.0)
        acknowledged = fleet.get("simulator_acknowledged_messages_total", 0.0)
        totals = {"cars": acknowledged, "edge": edge, "scored": scored, "cloud": float(seen.cloud_records)}
        waiting = {
            "cars": fleet.get("simulator_unacknowledged_messages", 0.0),
            "edge": bridge.get("bridge_in_flight_messages", 0.0),
            "scored": max(0.0, edge - scored),
            "cloud": max(0.0, edge - seen.cloud_records),
        }
        version = int(min(scorer.get("scorer_model_version", 0.0) for scorer in scorers))
        self._note(edge, waiting["scored"], version, now)
        self.foresight.take(seen.news)
        self._tell_events()
        if now >= self._memory_due:
            self._memory_due = now + _MEMORY_EVERY_S
            self.memory_mib = self._deployment.supervisor.memory_mib()
            self.memory_mib_max = max(self.memory_mib_max, self.memory_mib)
        return screen.Picture(
            elapsed_s=self.flowing_s,
            duration_s=self._duration_s,
            cars_connected=_cars_connected(fleet),
            cars=plan.cars,
            rows=self._rows(totals, waiting, now),
            model_version=version,
            trainer=self.trainer_state(),
            latency=self.watch.latency(max(self.moments.caught_up or now, now - _LATENCY_WINDOW_S)),
            tallies=self.tallies(now),
            anomalies=seen.anomalies,
            recent=list(seen.recent),
            memory_mib=self.memory_mib,
            restarts=self._deployment.supervisor.restarts,
        )

    def tallies(self, now_s: float) -> dict[str, ForesightTally]:
        """What the alerts foresaw, as far as is known at `now_s`."""
        return self.foresight.tallies(now_s, self.watched_from(now_s))

    def watched_from(self, now_s: float) -> float:
        """Since when failures count: since there is a model that could foresee them; else from now on."""
        return self.moments.first_model or now_s

    def drain(self) -> None:
        """End the fleet, then wait until what it sent has passed every stage; not longer than 90 s."""
        self._console.print("ending the fleet, then waiting for the last records (Ctrl-C ends at once)")
        self.moments.fleet_ended = time.time()
        self._deployment.supervisor.stop("simulator")
        sent = int(self._deployment.published().sent.sum())
        deadline = time.monotonic() + _DRAIN_S
        while time.monotonic() < deadline:
            self._deployment.supervisor.tick()
            _, edge, scored, cloud = self.look().rows
            stages = [edge, cloud] if self.moments.first_model is None else [edge, scored, cloud]
            if min(row.total for row in stages) >= sent and edge.waiting == 0:
                break
            time.sleep(_DRAIN_LOOK_S)
        time.sleep(2 * _DRAIN_LOOK_S)  # audit records follow the last scores within milliseconds

    def _rows(
        self, totals: Mapping[str, float], waiting: Mapping[str, float], now: float
    ) -> list[screen.Row]:
        plan = self._deployment.plan
        stages = {
            "cars": ("cars to MQTT", ["simulator", *(f"mqtt-{shard}" for shard in range(plan.mqtt_shards))]),
            "edge": ("MQTT to edge Kafka", [*plan.bridge_names, "edge"]),
            "scored": ("edge Kafka to scores", [f"scorer-{number}" for number in range(plan.scorers)]),
            "cloud": ("edge to cloud Kafka", ["mirror", "cloud"]),
        }
        return [
            screen.Row(
                title,
                self._rates[stage].per_s(totals[stage], now),
                int(totals[stage]),
                int(waiting[stage]),
                self._states(names),
            )
            for stage, (title, names) in stages.items()
        ]

    def _note(self, at_edge: float, behind: float, version: int, now: float) -> None:
        moments, plan = self.moments, self._deployment.plan
        if moments.telemetry is None and at_edge:
            moments.telemetry = now
            self._console.print(f"telemetry in edge Kafka after {moments.since_start(now)} s")
        if moments.first_model is None and version:
            moments.first_model = now
            self._console.print(f"first model in use by all scorers after {moments.since_start(now)} s")
        if moments.caught_up is None and version and behind < plan.cars * plan.rate_hz:
            moments.caught_up = now
            self._console.print(f"scorers caught up with the log after {moments.since_start(now)} s")

    def _states(self, names: Sequence[str]) -> str:
        children = self._deployment.supervisor.children
        return " ".join(f"{_MARKS[children[name].state]} {name}" for name in names if name in children)

    def trainer_state(self) -> str:
        """What the trainer does, or how it ended."""
        child = self._deployment.supervisor.children.get(TRAINER)
        if child is None:
            return "waits for telemetry"
        if child.process is None and child.status in _TRAINER_SAYS:
            return f"ended: {_TRAINER_SAYS[child.status]}"
        lines = self._deployment.supervisor.last_lines(TRAINER).splitlines()
        said = next((said for line in reversed(lines) if (said := _said(line))), "starts")
        return said if child.process is not None else f"ended with status {child.status}: {said}"

    def _tell_events(self) -> None:
        events = self._deployment.supervisor.events
        for event in events[self._told_events :]:
            self._console.print(f"[red]{event}[/]")
        self._told_events = len(events)
