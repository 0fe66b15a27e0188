"""One world: cars, MQTT brokers, bridges, Kafka and scorers, all in this process, all decided by a seed.

The loops of the bridge and of the scorer are the ones that run in production, with all that they call. Cars,
brokers and Kafka stand in memory (`mqtt.py`, `kafka.py`, `consumers.py`).
"""

import select
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any

from bridge.forwarding import Forwarder
from bridge.pipeline import Pipeline as BridgePipeline
from bridge.routing import Router
from bridge.settings import Settings as BridgeSettings
from contract.schema import SCHEMAS
from contract.telemetry import Decoder
from contract.topics import MAINTENANCE, MODELS, edge_topics, mirrored
from plumbing.health import Health
from plumbing.life import Stop
from plumbing.mqtt import Connection
from scorer.assignment import Assignment
from scorer.detector import AnomalyDetector
from scorer.model import Model
from scorer.model_feed import ModelFeed
from scorer.pipeline import Pipeline as ScorerPipeline
from scorer.results import Results
from scorer.settings import Settings as ScorerSettings
from scorer.snapshots import Snapshots
from scorer.source import Source
from tests.world.consumers import TOPIC_ID, Group, GroupConsumer, Reader
from tests.world.kafka import Log, Producer
from tests.world.mqtt import Broker, Car, Epoll, Socket, dialled
from tests.world.processes import Clock, Killed, Process, Schedule

MODEL_NAME = "failure-detector"
MODELS_TOPIC = mirrored("cloud", MODELS)
_AWAY_S = (0.2, 2.5)  # until a process that ended is started again
# Partitions of all topics but telemetry and those that go with it.
_FEW = 2


class _OpenedOnce:
    """Models, whose verification takes as long as ten batches, by their records; scorers share them."""

    open = staticmethod(cache(Model.open))


@dataclass
class Service:
    """A process that is started again whenever it ends, as long as it is wanted."""

    name: str
    work: Callable[[Stop], None]
    wanted: bool = True
    process: Process | None = None
    stop: Stop | None = None


@dataclass
class World:
    """Everything, and what has happened to it."""

    seed: int
    cars: int = 10
    partitions: int = 0
    log: Log = field(init=False)

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.seed)
        self.random = self.schedule.random
        self.partitions = self.random.randint(2, 4)
        alike = {"telemetry", "scores.audit", "car-state"}
        counts = {topic.name: self.partitions if topic.name in alike else _FEW for topic in edge_topics()}
        self.log = Log(self.schedule, counts | {MODELS_TOPIC: 1, MAINTENANCE: _FEW})
        # In some worlds nothing is sent again, and so few records are read back that the states matter.
        self.brief_memory = self.random.random() < 0.4
        self.state_interval_s = 1.0 if self.brief_memory else self.random.choice((1.0, 4.0))
        self.log.slow_s = self.random.choice((0.001, 0.01, 0.1))
        self.group = Group(self.schedule, self.log, lost_commits=self.random.choice((0.0, 0.3, 1.0)))
        self.brokers = [Broker(self.schedule) for _ in range(self.random.randint(1, 2))]
        self.fleet = [
            Car(self.schedule, self.brokers[number % len(self.brokers)], f"car-{number}")
            for number in range(self.cars)
        ]
        self.events: list[tuple[float, str]] = []
        self.ends: list[tuple[str, BaseException | None]] = []
        self._sockets: dict[int, Socket] = {}
        self._decoder = Decoder.of_all_versions()
        self.bridge = Service("bridge", self._run_bridge)
        self.scorers = [
            Service(f"scorer-{number}", self._scorer(f"scorer-{number}"), wanted=False) for number in range(3)
        ]

    def note(self, event: str) -> None:
        """Keep what happens, for a person who looks at this seed."""
        self.events.append((self.schedule.now, event))

    def start(self, service: Service) -> None:
        """Begin a process, and begin it again whenever it ends."""
        service.wanted = True
        if service.process is not None and service.process.died_at is None:
            return
        stop = Stop()
        service.stop = stop
        service.process = Process(
            self.schedule,
            service.name,
            lambda: service.work(stop),
            lambda process, why: self._ended(service, why),
        )

    def terminate(self, service: Service) -> None:
        """SIGTERM."""
        if service.stop is not None and service.process is not None and service.process.died_at is None:
            service.stop.request()

    def _ended(self, service: Service, why: BaseException | None) -> None:
        self.ends.append((service.name, why))
        how = "killed" if isinstance(why, Killed) else f"ended, {why}" if why else "ended"
        self.note(f"{service.name} {how}")
        if service.wanted:
            away_s = self.random.uniform(*_AWAY_S)
            self.schedule.after(away_s, lambda: self.start(service) if service.wanted else None)

    def run(self, until_s: float) -> None:
        """Let the world go on until then, with the stand-ins where the services look for the world."""
        sockets = SimpleNamespace(
            epoll=lambda: Epoll(self.schedule.current, self._sockets),
            EPOLLIN=select.EPOLLIN,
            EPOLLOUT=select.EPOLLOUT,
            EPOLLRDHUP=select.EPOLLRDHUP,
        )
        stand_ins = {
            "bridge__pipeline__select": sockets,
            "bridge__shard__dial": self._dial,
            "scorer__model_feed__Model": _OpenedOnce,
        }
        with self.schedule.in_services(**stand_ins):
            self.schedule.run(until_s)

    def _dial(self, host: str, port: int) -> Connection:
        """Brokers have the ports 0, 1, …"""
        socket = Socket(self.schedule, self.schedule.current, len(self._sockets))
        self._sockets[socket.fileno()] = socket
        dialled(socket, self.brokers[port - 1])
        connection: Any = Connection(socket)  # type: ignore[arg-type]
        return connection

    def _run_bridge(self, stop: Stop) -> None:
        settings = BridgeSettings(
            mqtt_brokers=tuple(f"127.0.0.1:{number + 1}" for number in range(len(self.brokers))),
            kafka_bootstrap="kafka:1",
            in_flight_max=100,
        )
        producer: Any = Producer(self.schedule, self.schedule.current, self.log)
        clock = Clock(self.schedule).time
        router = Router(SCHEMAS, payload_bytes_max=settings.payload_bytes_max, clock=clock)
        BridgePipeline(
            settings=settings,
            forwarder=Forwarder(router, producer),
            producer=producer,
            failures=[],
            health=Health(),
            stop=stop,
        ).run()

    def _scorer(self, name: str) -> Callable[[Stop], None]:
        def run(stop: Stop) -> None:
            schedule, process, log = self.schedule, self.schedule.current, self.log
            settings = ScorerSettings(
                kafka_bootstrap="kafka:1",
                scorer_id=name,
                batch_records_max=64,
                state_interval_s=self.state_interval_s,
                evidence_interval_s=20.0,
                remembered_records=100 if self.brief_memory else 20_000,
            )
            clients: list[Any] = [Reader(schedule, process, log) for _ in range(2)]
            consumer: Any = GroupConsumer(schedule, process, log, self.group)
            producer: Any = Producer(schedule, process, log)
            feed = ModelFeed(clients[0], MODELS_TOPIC, MODEL_NAME, settings.runtime)
            detector = AnomalyDetector()
            source = Source(settings.group_id)
            snapshots = Snapshots(detector, MODEL_NAME, settings.state_interval_s, feed.earlier, source)
            ScorerPipeline(
                settings=settings,
                consumer=consumer,
                membership=SimpleNamespace(confirmed=lambda now: True),  # type: ignore[arg-type]
                feed=feed,
                results=Results(producer, source),
                decoder=self._decoder,
                detector=detector,
                snapshots=snapshots,
                assignment=Assignment(
                    clients[1],
                    self._decoder,
                    detector,
                    snapshots,
                    settings.remembered_records,
                    source,
                    topic_id=lambda: TOPIC_ID,
                    has_members=lambda _: True,
                ),
                health=Health(),
                stop=stop,
            ).run()

        return run
