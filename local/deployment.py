"""The whole deployment on one machine: what runs, in which order, with which arguments."""

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from contract.schema import OWN_FOLDER
from contract.topics import TELEMETRY, TELEMETRY_PARTITIONS, cloud_topics, edge_topics
from local import java, kafka, mosquitto, preflight, topics
from local.java import ROOT
from local.ledger import Published
from local.ports import KAFKA_HOPS, MQTT_HOPS, Ports, is_ready
from local.supervisor import Child, Supervisor
from plumbing.life import WorldDown
from plumbing.settings import SettingsError

BROKERS_WITHIN_S, SERVICES_WITHIN_S = 60.0, 60.0
_ABANDONED_WITHIN_S = 2.0  # processes of a start that does not come to its end have nothing to finish
# A folder with this file in it was created by a run and may be emptied.
_MARK = ".connected-cars-run"
TRAINER, WATCHER = "trainer", "watcher"
# A challenger is promoted after as many car-weeks of driving. Looks are no closer, and trainings not sooner
# after a decision, than the processes of a short run need: evidence comes every second or two.
_TRIAL_CAR_WEEKS, _EVIDENCE_S_MIN, _LOOK_S_MIN, _COOL_DOWN_S_MIN = 100.0, 1.0, 2.0, 30.0
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "PYTHONUNBUFFERED": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",  # without the information messages of TensorFlow and XNNPACK
}


@dataclass(frozen=True)
class Plan:
    """What is to run. Raises SettingsError for replicas that would have nothing to do."""

    run_dir: Path
    cars: int = 1_000
    rate_hz: float = 1.0  # samples a second of each car
    seed: int = 1
    faulty_share: float = 0.05
    ageing: float = 1.0  # how much faster than life components wear
    fault_spread_h: float = 24.0  # a faulty car's next fault begins within this time
    healthy_s: float = 0.0  # no fault begins in this time
    time_lapse: float = 1.0  # seconds of driving in a second of the run
    learning_s: float = 10.0  # how long the trainer learns a car, in seconds of the run
    memory_s: float = 5.0  # how far back it averages a car's deviations, in seconds of the run
    false_alarms_per_car_week: float = 0.1  # the trainer's budget, per car-week of driving
    scorers: int = 2
    bridges: int = 1
    shards: int = 0  # of the MQTT broker; 0: as many as the limit of open files requires
    processes: int = 0  # of the simulator; 0: as many as the limit of open files requires
    connects_per_s: float = 1_000.0  # new connections a second, whole fleet
    compiler: java.Compiler = "c1"  # of the JVMs
    relayed: tuple[str, ...] = ()  # the hops (local/ports.py) that go through relays, which the caller starts
    changes: Mapping[str, object] = field(default_factory=dict)  # more settings of the simulator, by name
    buffer_s: float = 60.0  # how many seconds a car sends again to a broker that forgot it
    fleet_dir: Path | None = None  # of the cars' journals; None: in the run folder
    port_offset: int = 0

    def __post_init__(self) -> None:
        if self.bridges > self.mqtt_shards:
            raise SettingsError(
                f"{self.bridges} bridges for {self.mqtt_shards} broker shards: a bridge owns whole shards; "
                f"give --shards {self.bridges}, or fewer --bridges"
            )
        if self.mqtt_shards > 1 and set(self.relayed) & set(MQTT_HOPS):
            raise SettingsError(f"a relay carries one shard of the MQTT broker, not {self.mqtt_shards}")
        if self.scorers > TELEMETRY_PARTITIONS:
            raise SettingsError(
                f"{self.scorers} scorers for {TELEMETRY_PARTITIONS} partitions of {TELEMETRY}: the rest "
                f"would have nothing to do; give --scorers {TELEMETRY_PARTITIONS} or fewer"
            )

    @property
    def ports(self) -> Ports:
        """The ports of all processes."""
        return Ports(self.port_offset)

    @property
    def mqtt_shards(self) -> int:
        """The number of MQTT broker shards."""
        return self.shards or preflight.shards_for(self.cars)

    @property
    def bridge_names(self) -> list[str]:
        """The names of the bridges' processes."""
        return ["bridge"] if self.bridges == 1 else [f"bridge-{number}" for number in range(self.bridges)]

    @property
    def mqtt_brokers(self) -> str:
        """The addresses of all shards, as the services take them."""
        return ",".join(f"127.0.0.1:{self.ports.mqtt(shard)}" for shard in range(self.mqtt_shards))


class Deployment:
    """Starts and ends the processes of docs/architecture.md as children of this one."""

    def __init__(self, plan: Plan) -> None:
        """Raises WorldDown where something prevents the start (local/preflight.py)."""
        self.plan = plan
        preflight.check_fleet(plan.cars, plan.mqtt_shards)
        ports = plan.ports.all(
            shards=plan.mqtt_shards, scorers=plan.scorers, bridges=plan.bridges, relayed=plan.relayed
        )
        preflight.check(plan.run_dir, ports)
        empty(plan.run_dir)
        if plan.fleet_dir is not None:
            plan.fleet_dir.mkdir(parents=True, exist_ok=True)
            empty(plan.fleet_dir)
        hops = [plan.ports.hop(name) for name in plan.relayed if name in KAFKA_HOPS]
        self.edge = kafka.Broker(
            "edge", plan.ports.edge, plan.run_dir / "edge", compiler=plan.compiler, hops=hops
        )
        self.cloud = kafka.Broker("cloud", plan.ports.cloud, plan.run_dir / "cloud", compiler=plan.compiler)
        self.supervisor = Supervisor(plan.run_dir / "logs")

    def start_brokers(self) -> None:
        """Start MQTT and both Kafka clusters, and create their topics. Raises WorldDown."""
        for shard in range(self.plan.mqtt_shards):
            self.supervisor.start(mosquitto.shard(shard, self.plan.ports.mqtt(shard), self.plan.run_dir))
        for broker in (self.edge, self.cloud):
            self.supervisor.start(broker.child())
        mqtt = [f"mqtt-{shard}" for shard in range(self.plan.mqtt_shards)]
        self.supervisor.wait_ready([*mqtt, "edge", "cloud"], BROKERS_WITHIN_S)
        topics.create("edge", self.edge.bootstrap, edge_topics())
        topics.create("cloud", self.cloud.bootstrap, cloud_topics())

    def start_mirror(self) -> None:
        """Start replication; the first record takes some seconds."""
        plan = self.plan
        self.supervisor.start(
            kafka.mirrormaker(
                plan.run_dir / "mirror",
                edge_bootstrap=self._address("link", self.edge.bootstrap),
                cloud_bootstrap=self.cloud.bootstrap,
                rest_port=plan.ports.mirror,
                compiler=plan.compiler,
            )
        )

    def start_mirror_watch(self, **settings: object) -> None:
        """Start what counts the records that replication leaves out; `settings`: more of its settings."""
        both = {"edge_bootstrap": self.edge.bootstrap, "cloud_bootstrap": self.cloud.bootstrap}
        self._service("mirror-watch", "mirror", self.plan.ports.mirror_watch, **both, **settings)

    def start_bridge(self) -> None:
        """Start the bridges; each owns its share of the shards."""
        plan = self.plan
        for ordinal, name in enumerate(plan.bridge_names):
            own = {
                "mqtt_brokers": self._address("mqtt", plan.mqtt_brokers),
                "kafka_bootstrap": self._address("bridge", self.edge.bootstrap),
                "ordinal": ordinal,
                "replicas": plan.bridges,
            }
            self._service(name, "bridge", plan.ports.bridge(ordinal), **own)

    def start_scorer(self, number: int) -> None:
        """Start a scorer replica; it is ready once a model has arrived."""
        name, port = f"scorer-{number}", self.plan.ports.scorer(number)
        own = {"scorer_id": name, "evidence_interval_s": max(_EVIDENCE_S_MIN, 60 / self.plan.time_lapse)}
        own["kafka_bootstrap"] = self._address("scorers", self.edge.bootstrap)
        self._service(name, "scorer", port, **own)

    def start_simulator(self) -> None:
        """Start the fleet."""
        names = (
            "mqtt_brokers", "cars", "rate_hz", "seed", "faulty_share", "ageing", "fault_spread_h",
            "healthy_s", "time_lapse", "buffer_s", "connects_per_s", "processes",
        )  # fmt: skip
        planned = {name: getattr(self.plan, name) for name in names} | dict(self.plan.changes)
        planned["mqtt_brokers"] = self._address("cars", self.plan.mqtt_brokers)
        self._service("simulator", "simulator", self.plan.ports.simulator, run_dir=self._fleet_dir, **planned)

    def start(self, say: Callable[[str], Any]) -> None:
        """Start everything but the trainer; `say` is called with what is being started.

        With a schema of the user's own there is no fleet: the user publishes the telemetry.
        """
        fleet = OWN_FOLDER is None
        say(f"starting {self.plan.mqtt_shards} mosquitto, 2 Kafka (logs: {self.supervisor.logs})")
        self.start_brokers()
        say(f"starting MirrorMaker 2, bridge, {'fleet, ' if fleet else ''}scorers")
        self.start_mirror()
        self.start_bridge()
        self.supervisor.wait_ready(self.plan.bridge_names, SERVICES_WITHIN_S)
        if fleet:
            self.start_simulator()
        for number in range(self.plan.scorers):
            self.start_scorer(number)

    def train(self, *, wait_records: int = 1, wait_seconds: float = 60.0) -> Child:
        """Start a training; when it has ended, the child's `status` is its exit status."""
        waits = ["--wait-records", str(wait_records), "--wait-seconds", str(wait_seconds)]
        # Niced, so that on two cores the message path does not wait for the training.
        argv = ["nice", "-n", "10", *self.training_command(), *waits]
        return self.supervisor.start(Child(TRAINER, argv, restart=False, env=ENVIRONMENT))

    def start_watcher(self, **settings: object) -> None:
        """Start `trainer watch`, which decides about models on trial and trains where the fleet drifts.

        Its times and budgets are life's, in the plan's time lapse; `settings` are more of its settings, by
        name, and win. It is ready once the log is read.
        """
        plan, lapse = self.plan, self.plan.time_lapse
        scaled = {
            "false_alarms_per_car_week": plan.false_alarms_per_car_week * lapse,
            "car_weeks_min": _TRIAL_CAR_WEEKS / lapse,
            "look_every_s": max(_LOOK_S_MIN, 60 / lapse),
            "slice_s": 4.5 * plan.learning_s,  # less made a candidate that its gate refused
            "cool_down_s": max(_COOL_DOWN_S_MIN, 6 * 3_600 / lapse),
            "horizon_s": 14 * 86_400 / lapse,
            "report_s": 86_400 / lapse + 2,
        }
        port = plan.ports.watcher
        own = flags(scaled | settings | {"metrics_port": port})
        argv = [*self.trainer_command("watch"), *own, "--", *flags(self._training_settings)]
        self.supervisor.start(Child(WATCHER, argv, lambda: is_ready(port), env=ENVIRONMENT))

    def training_command(self) -> list[str]:
        """The command line that trains a model from what the cloud's log holds now."""
        return self.trainer_command("train", *flags(self._training_settings))

    @property
    def _training_settings(self) -> dict[str, object]:
        plan = self.plan
        return {
            "seed": plan.seed,
            "learning_s": plan.learning_s,
            "memory_s": plan.memory_s,
            "false_alarms_per_car_week": plan.false_alarms_per_car_week * plan.time_lapse,
        }

    def trainer_command(self, *arguments: str) -> list[str]:
        """The command line of the trainer against this deployment's cloud."""
        return [sys.executable, "-m", "trainer", *arguments, "--kafka-bootstrap", self.cloud.bootstrap]

    def published(self) -> Published:
        """What the cars sent, by their own journal. Raises WorldDown before the simulator has ended."""
        return published(self._fleet_dir)

    def truth(self) -> list[dict[str, Any]]:
        """Every fault of the fleet as the simulator planned it."""
        return list(json.loads((self._fleet_dir / "truth.json").read_text(encoding="utf-8")))

    def stop(self, *, started: bool = True) -> None:
        """End everything in the opposite order of the start; where it has not `started`, all at once."""
        self.supervisor.stop_all(None if started else _ABANDONED_WITHIN_S)

    @property
    def _fleet_dir(self) -> Path:
        return self.plan.fleet_dir or self.plan.run_dir / "fleet"

    def _address(self, hop: str, direct: str) -> str:
        """The address for the clients of a hop: of its relay, or the direct one."""
        plan = self.plan
        return f"127.0.0.1:{plan.ports.hop(hop).relay}" if hop in plan.relayed else direct

    def _service(self, name: str, module: str, port: int, **settings: object) -> None:
        argv = [sys.executable, "-m", module, *flags(settings | {"metrics_port": port})]
        self.supervisor.start(Child(name, argv, lambda: is_ready(port), env=ENVIRONMENT))


def published(fleet_dir: Path) -> Published:
    """What the cars of a simulator's folder sent. Raises WorldDown before the simulator has ended."""
    try:
        rows = np.load(fleet_dir / "published.npy")
    except OSError as error:
        raise WorldDown(f"the simulator left no record of what the cars sent: {error}") from error
    return Published([f"car-{car:06d}" for car in rows["car"]], rows["sent"], rows["acknowledged"])


def flags(settings: Mapping[str, object]) -> list[str]:
    """`{"rate_hz": 2}` as `["--rate-hz", "2"]`."""
    return [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def empty(run_dir: Path) -> None:
    """Empty a run folder. Raises WorldDown for a folder that no run has created."""
    mark = run_dir / _MARK
    if any(run_dir.iterdir()) and not mark.exists():
        raise WorldDown(f"{run_dir} is not empty and was not created by a run: give another --run-dir")
    for entry in run_dir.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    mark.touch()
