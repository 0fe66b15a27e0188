"""One run of the benchmark: its settings, the brokers that a stage asks for, and what was measured."""

import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console

from contract.topics import edge_topics
from local import kafka, mosquitto, preflight, topics
from local.java import ROOT
from local.ports import Ports
from local.probe import is_ready
from local.supervisor import Child, Supervisor
from plumbing.settings import setting

STAGES = ("bridge", "scorer", "simulator", "physics", "codec")
READY_WITHIN_S = 60.0
# Room for the backlog in the page cache is worth more to a measured broker than heap.
_KAFKA_HEAP_MIB = 512


@dataclass(frozen=True)
class Settings:
    """Flags, environment (BENCH_…) or these defaults."""

    stages: tuple[str, ...] = setting("what to measure, in this order", default=STAGES)
    peers: bool = setting("others' programs under the same load, too", default=False)
    rate: int = setting("messages a second where the load is steady", default=10_000)
    steady_s: float = setting("how long a steady load is measured", default=20.0)
    backlog: int = setting("messages that the bridge drains", default=300_000)
    records: int = setting("records that the scorer drains", default=1_000_000)
    drains: int = setting("scorers that drain them, one after another; their median counts", default=5)
    port_offset: int = setting("added to every port, to run beside another deployment", default=0)
    run_dir: Path = setting("logs, state and summary.json; emptied stage by stage", default=Path("var/bench"))

    def __post_init__(self) -> None:
        if unknown := [stage for stage in self.stages if stage not in STAGES]:
            raise ValueError(f"--stages {','.join(unknown)}: known are {','.join(STAGES)}")
        if not self.stages:
            raise ValueError(f"--stages must name at least one of {','.join(STAGES)}")
        if min(self.rate, self.steady_s, self.backlog, self.records, self.drains) <= 0:
            raise ValueError("--rate, --steady-s, --backlog, --records and --drains must be positive")


class Run:
    """What a stage works with. As a context manager it ends every child, however the run ends.

    Within a stage `edge` is a Kafka with all edge topics, empty at the stage's beginning, and `mqtt(n)` a
    mosquitto; both start when they are first asked for.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.run_dir = settings.run_dir
        self.peers = settings.peers
        self.ports = Ports(settings.port_offset)
        self.console = Console()
        self.ours: dict[str, dict[str, float]] = {}
        self.theirs: dict[str, dict[str, dict[str, float]]] = {}
        self.missing: dict[str, str] = {}
        self.failures: dict[str, str] = {}
        self._began = time.monotonic()
        self._folder = self.run_dir
        self._supervisor: Supervisor | None = None

    def __enter__(self) -> "Run":
        self._handlers = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        if self._supervisor is not None:
            self._supervisor.stop_all()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Where a stage runs: an own folder, own brokers, nothing left of them afterwards but logs."""
        self._folder = self.run_dir / name
        shutil.rmtree(self._folder, ignore_errors=True)
        wanted = self.ports.all(shards=2, scorers=1)
        preflight.check(self._folder, wanted)
        self._supervisor = Supervisor(self._folder / "logs")
        self.say(f"[bold]{name}[/]")
        try:
            yield
        finally:
            self._supervisor.stop_all()
            self._supervisor = None
            for leftover in self._folder.iterdir():
                if leftover.is_dir() and leftover.name != "logs":
                    shutil.rmtree(leftover)

    @property
    def supervisor(self) -> Supervisor:
        """Whatever is started here ends with the stage at the latest; logs in `supervisor.log_of(name)`."""
        assert self._supervisor is not None, "outside of a stage"
        return self._supervisor

    @property
    def folder(self) -> Path:
        """For the stage's own files; all but `logs` is removed at its end."""
        return self._folder

    @property
    def edge(self) -> str:
        """Bootstrap address of this stage's edge Kafka (C2 compiler, as one that carries load has it)."""
        port = self.ports.edge
        broker = kafka.Broker("edge", port, self._folder / "edge", compiler="c2", heap_mib=_KAFKA_HEAP_MIB)
        if not self._runs("edge"):
            self.supervisor.start(broker.child())
            self.supervisor.wait_ready(["edge"], READY_WITHIN_S)
            topics.create("edge", broker.bootstrap, edge_topics())
        return broker.bootstrap

    def mqtt(self, number: int = 0) -> str:
        """host:port of a mosquitto of this stage; once it was stopped, of a new one that knows nothing."""
        name, port = f"mqtt-{number}", self.ports.mqtt(number)
        if not self._runs(name):
            shutil.rmtree(self._folder / name, ignore_errors=True)
            self.supervisor.start(mosquitto.shard(number, port, self._folder))
            self.supervisor.wait_ready([name], READY_WITHIN_S)
        return f"127.0.0.1:{port}"

    def python(
        self,
        name: str,
        module: str,
        *arguments: str,
        metrics_port: int = 0,
        env: Mapping[str, str] | None = None,
    ) -> Child:
        """Start `python -m module arguments` as the child `name`; with a metrics port, until it is ready.

        It is not started again when it dies: a figure over two lives is none. Raises WorldDown.
        """
        flags = ["--metrics-port", str(metrics_port)] if metrics_port else []
        argv = [sys.executable, "-m", module, *arguments, *flags]
        ready = (lambda: is_ready(metrics_port)) if metrics_port else (lambda: True)
        environment = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        child = Child(name, argv, ready, restart=False, env={**environment, **(env or {})})
        self.supervisor.start(child)
        self.supervisor.wait_ready([name], READY_WITHIN_S)
        return child

    def _runs(self, name: str) -> bool:
        child = self.supervisor.children.get(name)
        return child is not None and child.process is not None

    def say(self, text: str) -> None:
        """A line of progress."""
        self.console.print(f"{time.monotonic() - self._began:6.1f} s  {text}", soft_wrap=True)

    def not_measured(self, peer: str, why: str) -> None:
        """A peer that cannot run here: said in the table and in summary.json, never left out in silence."""
        self.missing[peer] = why
        self.say(f"[bold red]{peer} is not measured: {why}[/]")


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
