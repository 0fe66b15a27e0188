"""Looks at a running deployment: a picture for the screen, and the moments when something was reached."""

import json
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from contract.foresight import AlertVerdicts, ForesightTally
from local import screen
from local.deployment import TRAINER, WATCHER, Deployment
from local.supervisor import Child
from local.watch import Watch, scrape
from local.workshop import Workshop

_LATENCY_WINDOW_S = 30.0
_RATE_WINDOW_S = 5.0
# The kernel takes tens of milliseconds to add up the pages of some gigabytes.
_MEMORY_EVERY_S = 5.0
_DRAIN_S, _DRAIN_LOOK_S = 90.0, 0.5
_MARKS = {"ready": "[green]●[/]", "starting": "[yellow]○[/]", "waiting": "[red]↻[/]", "ended": "[dim]·[/]"}
_ENDED: dict[int | None, str] = {0: "a model was published", 3: "the model was refused by the gate"}
_OTHER_LINE_CHARS_MAX = 100
_LOG_KEYS = {"time", "level", "service", "message", "exception"}
_STEPS = 5
# Message of the trainer's log: which step of a training it belongs to, and what to show of it.
_SHOWN = {
    "waiting for records": (1, "gathering telemetry, {found} of {wanted} records"),
    "reading": (2, "reading telemetry"),
    "the slice is read": (2, "{records} records of {cars} cars are read"),
    "cars": (3, "learning each car and the linear detector"),
    "linear detector": (3, "the linear detector is learned"),
    "training": (4, "training the network, step {step}"),
    "the network is trained": (4, "the network is trained"),
    "judging": (5, "judging it on cars that were held out"),
    "judged": (5, "judging it on cars that were held out"),
}


@dataclass
class Moments:
    """When something was reached, in s since 1970; None: not yet."""

    started: float
    telemetry: float | None = None  # the first record in edge Kafka
    first_model: float | None = None  # in use by all scorers
    caught_up: float | None = None  # the scorers with the log
    drift: float | None = None  # the watcher has seen that the fleet changed
    trial: float | None = None  # a challenger has reached the edge
    promoted: float | None = None  # it has become the champion
    fleet_ended: float | None = None

    def since_start(self, moment: float | None) -> float | None:
        """Seconds from the start to a moment."""
        return None if moment is None else round(moment - self.started, 1)


class Rate:
    """The growth of a counter per second, over the last seconds."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, float]] = deque()

    def per_s(self, total: float, now: float) -> float:
        """The rate after one more value of the counter; one that has begun again grows from its new value."""
        if self._points and total < self._points[-1][1]:
            self._points.clear()
        self._points.append((now, total))
        while now - self._points[0][0] > _RATE_WINDOW_S:
            self._points.popleft()
        since, before = self._points[0]
        return (total - before) / (now - since) if now > since else 0.0


def _sum(replicas: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Metrics added up over replicas."""
    names = {name for replica in replicas for name in replica}
    return {name: sum(replica.get(name, 0.0) for replica in replicas) for name in names}


def _cars_connected(fleet: Mapping[str, float]) -> int:
    """Connected cars: all connections but those of the workshops, of which each worker has one."""
    clients, workers = fleet.get("simulator_connected_clients", 0.0), fleet.get("simulator_workers", 0.0)
    return max(0, int(clients - workers))


class Observer:
    """Asks every service for its metrics at each look, and prints what has happened since the last one."""

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
        self.workshop: Workshop | None = None  # gets the alerts that are seen
        self.moments = Moments(started_at)
        self.watch = watch
        self.foresight = foresight or AlertVerdicts()
        # The metrics of each service at the last look, added up over its replicas.
        self.metrics: dict[str, dict[str, float]] = {}
        self.memory_mib = self.memory_mib_max = self._memory_due = 0.0
        self._deployment = deployment
        self._console = console
        self._duration_s = duration_s
        self._rates = {stage: Rate() for stage in ("cars", "edge", "scored", "cloud")}

    @property
    def flowing_s(self) -> float:
        """How long telemetry has been reaching edge Kafka."""
        return 0.0 if self.moments.telemetry is None else time.time() - self.moments.telemetry

    def look(self) -> screen.Picture:
        """The picture of now."""
        plan, seen, now = self._deployment.plan, self.watch.seen, time.time()
        fleet = scrape(plan.ports.simulator)
        bridge = _sum([scrape(plan.ports.bridge(number)) for number in range(plan.bridges)])
        scorers = [scrape(plan.ports.scorer(number)) for number in range(plan.scorers)]
        watcher = scrape(plan.ports.watcher) if WATCHER in self._deployment.supervisor.children else {}
        self.metrics = {"simulator": fleet, "bridge": bridge, "scorer": _sum(scorers), "watcher": watcher}
        # The bridge forwards the workshops' reports as well; here only telemetry counts.
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
        self._note_life(now)
        self._take_news(now)
        for event in self._deployment.supervisor.new_events():
            self._console.print(f"[red]{event}[/]")
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
            watcher=self._watcher_state(),
            open_alerts=int(self.metrics["scorer"].get("scorer_open_alerts", 0.0)),
            latency=self.watch.latency(max(self.moments.caught_up or now, now - _LATENCY_WINDOW_S)),
            tallies=self.tallies(now),
            time_lapse=plan.time_lapse,
            anomalies=seen.anomalies,
            recent=list(seen.recent),
            memory_mib=self.memory_mib,
            restarts=self._deployment.supervisor.restarts,
        )

    def tallies(self, now_s: float) -> dict[str, ForesightTally]:
        """What the alerts foresaw as far as it is known at `now_s`."""
        return self.foresight.tallies(now_s, self.watched_from(now_s))

    def watched_from(self, now_s: float) -> float:
        """Failures count from the first model on, which could foresee them; without one, from now on."""
        return self.moments.first_model or now_s

    def drain(self) -> None:
        """End the fleet, then wait until its records have passed every stage, for at most 90 s."""
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
        plan, children = self._deployment.plan, self._deployment.supervisor.children
        stages = {
            "cars": ("cars to MQTT", ["simulator", *(f"mqtt-{shard}" for shard in range(plan.mqtt_shards))]),
            "edge": ("MQTT to Kafka", [*plan.bridge_names, "edge"]),
            "scored": ("Kafka to scores", [f"scorer-{number}" for number in range(plan.scorers)]),
            "cloud": ("edge to cloud", ["mirror", "cloud"]),
        }
        return [
            screen.Row(
                title,
                self._rates[stage].per_s(totals[stage], now),
                int(totals[stage]),
                int(waiting[stage]),
                " ".join(f"{_MARKS[children[name].state]} {name}" for name in names if name in children),
            )
            for stage, (title, names) in stages.items()
        ]

    def _note(self, at_edge: float, behind: float, version: int, now: float) -> None:
        moments, plan = self.moments, self._deployment.plan
        if moments.telemetry is None and at_edge:
            moments.telemetry = now
            self._console.print(f"first telemetry in edge Kafka after {moments.since_start(now)} s")
        if moments.first_model is None and version:
            moments.first_model = now
            self._console.print(f"first model in use by all scorers after {moments.since_start(now)} s")
        if moments.caught_up is None and version and behind < plan.cars * plan.rate_hz:
            moments.caught_up = now
            self._console.print(f"scorers caught up with the log after {moments.since_start(now)} s")

    def _note_life(self, now: float) -> None:
        """Note what becomes of the models after the first one."""
        moments, arrivals = self.moments, self.watch.seen.models
        if moments.drift is None and self.metrics["watcher"].get("trainer_drifting"):
            moments.drift = now
            self._console.print(f"the fleet has changed: a drift is seen after {moments.since_start(now)} s")
        tried = {arrival.version: arrival.at_edge for arrival in arrivals if arrival.on_trial}
        if moments.trial is None and tried:
            moments.trial = now
            self._console.print(
                f"version {min(tried)} is on trial beside the champion after {moments.since_start(now)} s"
            )
        promoted = [
            arrival.version for arrival in arrivals if arrival.version in tried and not arrival.on_trial
        ]
        if moments.promoted is None and promoted:
            moments.promoted = now
            self._console.print(
                f"version {promoted[0]} is the champion, by its evidence, after {moments.since_start(now)} s"
            )

    def _take_news(self, now: float) -> None:
        """Pass on the alerts and reports that were seen since the last look."""
        news, seen = deque[tuple[str, dict[str, Any]]](), self.watch.seen.news
        while seen:
            news.append(seen.popleft())
        if self.workshop:
            for name, record in news:
                if name == "alert":
                    self.workshop.take(record, now)
            self.workshop.tick(now)
        self.foresight.take(news)

    def _watcher_state(self) -> str:
        """What the watcher sees and does, in words; empty where there is none."""
        if WATCHER not in self._deployment.supervisor.children:
            return ""
        lines = self._deployment.supervisor.last_lines(WATCHER).splitlines()
        return next((words for line in reversed(lines) if (words := line_in_words(line))), "starts")

    def trainer_state(self) -> str:
        """What the trainer does, or how it ended, in words."""
        supervisor = self._deployment.supervisor
        return training_state(supervisor.children.get(TRAINER), supervisor.last_lines(TRAINER).splitlines())


def training_state(child: Child | None, log_lines: list[str]) -> str:
    """How far a training is, by the end of its log, or how it ended, in words."""
    if child is None:
        return "waits for telemetry"
    if child.process is None and child.status in _ENDED:
        return _ENDED[child.status]
    words = next((words for line in reversed(log_lines) if (words := line_in_words(line))), "starts")
    return words if child.process is not None else f"ended with status {child.status}: {words}"


def line_in_words(line: str) -> str:
    """A line of the trainer's JSON log in words; empty for a line that is none."""
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    if not isinstance(entry, dict) or entry.get("message", "TensorFlow is loaded") == "TensorFlow is loaded":
        return ""
    if entry["message"] in _SHOWN:
        step, text = _SHOWN[entry["message"]]
        # Whole numbers have gaps between thousands; a missing field is shown as `?`.
        shown = {k: f"{v:,}".replace(",", " ") if isinstance(v, int) else v for k, v in entry.items()}
        return f"step {step} of {_STEPS}, {text.format_map(defaultdict(lambda: '?', shown))}"
    if says := entry.get("says"):
        return f"{entry['message']}: {'; '.join(map(str, says))}"[:_OTHER_LINE_CHARS_MAX]
    fields = ", ".join(f"{key} {value}" for key, value in entry.items() if key not in _LOG_KEYS)
    return f"{entry['message']} {fields}".strip()[:_OTHER_LINE_CHARS_MAX]
