"""A run of `make compat`: combination after combination, and the table of all."""

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from confluent_kafka import KafkaException
from rich.table import Table

from contract.manifest import unpack
from contract.topics import MODELS, TELEMETRY, edge_topics, mirrored
from loadtest import deployment, machine, output
from loadtest.compat import brokers, rights
from loadtest.compat.settings import Settings
from local import ledger, topics
from local.deployment import ENVIRONMENT, empty, flags, published
from local.ports import Ports, is_ready
from local.supervisor import Child, Supervisor
from local.usage import cpu_s
from local.watch import scrape
from plumbing import kafka
from plumbing.life import WorldDown

_READY_WITHIN_S, _CAUGHT_UP_WITHIN_S = 90.0, 90.0
_SCORERS = 2
_SCORED = "scorer_scored_records_total"


@dataclass(frozen=True)
class Combination:
    """What came of one; nothing is known of one that did not run."""

    broker: str
    kafka: str
    sent: int | None = None  # records
    lost: int | None = None  # of them in Kafka or scored, whichever is more
    duplicates: int | None = None  # in Kafka, which the contract allows after a kill
    scored_twice: int | None = None
    us_per_msg: float | None = None  # CPU of the bridge and the scorers
    problem: str = ""

    @property
    def kept(self) -> bool:
        """Whether it ran, lost nothing and scored nothing twice."""
        return not self.problem and self.lost == 0 and self.scored_twice == 0


def main(settings: Settings) -> int:
    """Exit status 0 where every combination kept the guarantees."""
    console = output.console(120)
    deployment.ensure_model(settings.model, settings.run_dir, settings.port_offset, console.print)
    found = []
    for broker in settings.brokers:
        for name in settings.kafkas:
            console.print(f"{broker}, Kafka {name} …")
            settings.run_dir.mkdir(parents=True, exist_ok=True)
            empty(settings.run_dir)
            try:
                with _Path(settings, broker, name) as path:
                    found.append(path.carry())
            except (WorldDown, KafkaException) as error:
                found.append(Combination(broker, name, problem=str(error)))
                console.print(str(error), soft_wrap=True)
    report = {"commit": machine.commit(), "machine": machine.describe(), "cars": settings.cars}
    summary = settings.run_dir.parent / "summary.json"
    output.write_json(summary, report | {"combinations": [asdict(each) for each in found]})
    console.print(_table(found))
    console.print(f"written to {summary}")
    return 0 if all(each.kept for each in found) else 1


def _table(found: list[Combination]) -> Table:
    table = Table("broker", "Kafka", "sent", "lost", "duplicates", "scored twice", "µs/message", "")
    for each in found:
        figures = (each.sent, each.lost, each.duplicates, each.scored_twice, each.us_per_msg)
        verdict = "kept" if each.kept else (each.problem.splitlines() or ["BROKEN"])[0][:40]
        table.add_row(each.broker, each.kafka, *("-" if f is None else str(f) for f in figures), verdict)
    return table


class _Path:
    """The message path of one combination: a context manager that ends its processes."""

    def __init__(self, settings: Settings, broker: str, kafka_name: str) -> None:
        self._settings, self._broker, self._kafka = settings, broker, kafka_name
        self._folder, self._ports = settings.run_dir, Ports(settings.port_offset)
        self._supervisor = Supervisor(self._folder / "logs")
        self._properties = self._folder / "client.properties"
        self._admin = self._folder / "admin.properties"
        self._password = self._folder / "password"
        self._edge = ""

    def __enter__(self) -> "_Path":
        for file, user in ((self._properties, brokers.USER), (self._admin, brokers.ADMINISTRATOR)):
            file.write_text(brokers.properties(user), encoding="utf-8")
        self._password.write_text(brokers.PASSWORD + "\n", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._supervisor.stop_all()

    def carry(self) -> Combination:
        """Start everything, measure, kill, drain, and reconcile. Raises WorldDown."""
        self._start()
        flows = self._scored()
        self._until(lambda: self._scored() > flows + self._settings.cars, "telemetry is scored")
        us_per_msg = self._measure()
        for name in ("bridge", "scorer-0"):
            before = self._supervisor.children[name].pid
            self._supervisor.kill(name)
            self._until(lambda n=name, b=before: self._is_back(n, b), f"{name} is back")  # type: ignore[misc]
        self._wait(5.0)
        self._supervisor.stop("simulator")
        return self._reconcile(us_per_msg)

    def _start(self) -> None:
        mqtt, port = self._ports.mqtt(0), self._ports.edge
        broker = brokers.kafka(self._kafka, port, self._folder)
        self._edge = broker.bootstrap
        self._supervisor.start(brokers.BROKERS[self._broker](mqtt, self._folder))
        self._supervisor.start(broker.child())
        self._supervisor.wait_ready(["mqtt-0", "edge"], _READY_WITHIN_S)
        topics.create("edge", self._edge, edge_topics(), self._admin)
        rights.grant(self._edge, brokers.USER, self._admin, self._properties)
        self._publish_model()
        login = {"mqtt_username": brokers.USER, "mqtt_password_file": self._password}
        address = {"mqtt_brokers": f"127.0.0.1:{mqtt}"}
        cluster = {"kafka_bootstrap": self._edge, "kafka_properties": self._properties}
        self._service("bridge", "bridge", self._ports.bridge(0), **address, **login, **cluster)
        protocol = brokers.KAFKAS[self._kafka][1]
        for number in range(_SCORERS):
            name, own = f"scorer-{number}", self._ports.scorer(number)
            self._service(name, "scorer", own, scorer_id=name, group_protocol=protocol, **cluster)
        names = ["bridge", *(f"scorer-{number}" for number in range(_SCORERS))]
        self._supervisor.wait_ready(names, _READY_WITHIN_S)
        fleet = {"cars": self._settings.cars, "run_dir": self._folder / "fleet"}
        self._service("simulator", "simulator", self._ports.simulator, **address, **login, **fleet)
        self._supervisor.wait_ready(["simulator"], _READY_WITHIN_S)

    def _service(self, name: str, module: str, port: int, **settings: object) -> None:
        argv = [sys.executable, "-m", module, *flags(settings | {"metrics_port": port})]
        self._supervisor.start(Child(name, argv, lambda: is_ready(port), env=ENVIRONMENT))

    def _publish_model(self) -> None:
        """To the topic that MirrorMaker would copy it to."""
        record = self._settings.model.read_bytes()
        producer = kafka.producer(self._edge, self._admin)
        producer.produce(mirrored("cloud", MODELS), record, unpack(record)[0].name)
        if producer.flush(_READY_WITHIN_S):
            raise WorldDown("Kafka did not take the model")

    def _measure(self) -> float:
        """µs of CPU of bridge and scorers a message, while nothing is killed."""
        names = ["bridge", *(f"scorer-{number}" for number in range(_SCORERS))]

        def spent() -> float:
            return sum(cpu_s(pid) for name in names for pid in self._supervisor.children[name].tree())

        before, scored = spent(), self._scored()
        self._wait(self._settings.seconds)
        return round(1e6 * (spent() - before) / max(1.0, self._scored() - scored), 1)

    def _reconcile(self, us_per_msg: float) -> Combination:
        """Wait until every record is scored; what is not by then is lost."""
        sent = published(self._folder / "fleet")
        deadline = time.monotonic() + _CAUGHT_UP_WITHIN_S
        while True:
            audits = ledger.read_audits(self._edge, self._admin)
            log = ledger.read_log(self._edge, TELEMETRY, sent, self._admin)
            at_edge, scored = ledger.edge_stage(sent, log), ledger.scored_stage(sent, log, audits)
            if max(at_edge.lost, scored.lost) == 0 or time.monotonic() > deadline:
                break
            self._wait(1.0)
        return Combination(
            self._broker,
            self._kafka,
            sent=scored.expected,
            lost=max(at_edge.lost, scored.lost),
            duplicates=at_edge.duplicates,
            scored_twice=scored.duplicates,
            us_per_msg=us_per_msg,
        )

    def _scored(self) -> float:
        return sum(scrape(self._ports.scorer(number)).get(_SCORED, 0.0) for number in range(_SCORERS))

    def _is_back(self, name: str, before: int | None) -> bool:
        child = self._supervisor.children[name]
        return child.state == "ready" and child.pid != before

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._supervisor.tick()
            time.sleep(0.1)

    def _until(self, holds: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + _READY_WITHIN_S
        while not holds():
            if time.monotonic() > deadline:
                raise WorldDown(f"not within {_READY_WITHIN_S:.0f} s: {what} (logs: {self._supervisor.logs})")
            self._wait(0.2)
