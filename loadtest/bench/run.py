"""One run of the benchmark: its settings, the brokers that a stage asks for, and what was measured."""

import contextlib
import shutil
import time
import timeit
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from rich.console import Console

from contract.topics import edge_topics
from loadtest import children
from local import kafka, mosquitto, preflight, topics, usage
from local.ports import Ports
from local.supervisor import Child, Supervisor
from plumbing.life import WorldDown
from plumbing.settings import setting

Stage = Literal["bridge", "scorer", "serving", "simulator", "physics", "codec"]
STAGES: tuple[Stage, ...] = get_args(Stage)
READY_WITHIN_S = 60.0
# A measured broker profits more from page cache for the backlog than from heap.
_KAFKA_HEAP_MIB = 512
_POLL_S = 0.05


@dataclass(frozen=True)
class Settings:
    """Flags, environment (BENCH_…) or these defaults."""

    stages: tuple[Stage, ...] = setting("what to measure, in this order", default=STAGES)
    peers: bool = setting("measure others' programs under the same load, too", default=False)
    rate: int = setting("messages a second of the steady load", default=10_000, least=1)
    steady_s: float = setting("how long the steady load is measured", default=20.0, above=0)
    backlog: int = setting("messages that the bridge drains", default=300_000, least=1)
    records: int = setting("records that the scorer drains", default=1_000_000, least=1)
    drains: int = setting("how often the scorer drains them; the median counts", default=5, least=1)
    port_offset: int = setting("added to every port, to run beside another deployment", default=0)
    run_dir: Path = setting(
        "folder of logs, state and summary.json; each stage empties its own part", default=Path("var/bench")
    )

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError(f"--stages must name at least one of {','.join(STAGES)}")


def cpu_s(step: Callable[[], object]) -> float:
    """CPU time of a call of `step`: the least mean of five series of about 0.1 s, because load only adds."""
    timer = timeit.Timer(step, timer=time.thread_time)
    calls = 1 + int(0.1 / timer.timeit(1))
    return min(timer.repeat(5, calls)) / calls


class BenchRun:
    """What a stage works with.

    Within a stage `edge` is a Kafka with all edge topics, empty when the stage begins, and `mqtt(n)` a
    mosquitto; both start when they are first asked for.
    """

    supervisor: Supervisor  # of the present stage, with which every child ends

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ports = Ports(settings.port_offset)
        self.console = Console()
        self.ours: dict[str, dict[str, float]] = {}  # figures by stage
        self.theirs: dict[str, dict[str, dict[str, float]]] = {}  # figures by stage and peer
        self.missing: dict[str, str] = {}  # peers that could not be measured, and why
        self.failures: dict[str, str] = {}  # stages that could not be measured, and why
        self.folder = settings.run_dir  # of the present stage; all but `logs` is removed when the stage ends
        self._started_at = time.monotonic()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A stage runs in a folder of its own, with brokers of its own; only its logs remain."""
        self.folder = self.settings.run_dir / name
        shutil.rmtree(self.folder, ignore_errors=True)
        # A model server takes the ports of two more scorers.
        preflight.check(self.folder, self.ports.all(shards=2, scorers=3))
        self.supervisor = Supervisor(self.folder / "logs")
        self.say(f"[bold]{name}[/]")
        try:
            yield
        finally:
            self.supervisor.stop_all()
            for entry in self.folder.iterdir():
                if entry.is_dir() and entry.name != "logs":
                    shutil.rmtree(entry)

    @property
    def edge(self) -> str:
        """Bootstrap address of this stage's edge Kafka, with the C2 compiler as under load."""
        broker = kafka.Broker(
            "edge", self.ports.edge, self.folder / "edge", compiler="c2", heap_mib=_KAFKA_HEAP_MIB
        )
        if not self._runs("edge"):
            self._start(broker.child())
            topics.create("edge", broker.bootstrap, edge_topics())
        return broker.bootstrap

    def mqtt(self, number: int = 0) -> str:
        """host:port of a mosquitto of this stage; after it was stopped, a new one without any sessions."""
        name, port = f"mqtt-{number}", self.ports.mqtt(number)
        if not self._runs(name):
            shutil.rmtree(self.folder / name, ignore_errors=True)
            self._start(mosquitto.shard(number, port, self.folder))
        return f"127.0.0.1:{port}"

    def python(self, name: str, module: str, *arguments: str) -> Child:
        """Start `python -m module arguments`."""
        return self._start(children.python(name, module, *arguments))

    def wait_until(self, condition: Callable[[], object], child: Child, within_s: float, what: str) -> None:
        """Raises WorldDown with the end of the child's log where the child ends, or it takes longer."""
        deadline = time.monotonic() + within_s
        while not condition():
            self.check(child)
            if time.monotonic() > deadline:
                raise WorldDown(f"not within {within_s:.0f} s: {what}; {self._log_end(child)}")
            time.sleep(_POLL_S)

    def wait_end(self, child: Child) -> None:
        """Return when the child has ended. Raises WorldDown unless its exit status is 0."""
        while child.process is not None:
            self.supervisor.tick()
            time.sleep(_POLL_S)
        if child.status != 0:
            raise WorldDown(f"{child.name} ended with status {child.status}; {self._log_end(child)}")

    def check(self, child: Child) -> None:
        """Raises WorldDown where the child has ended."""
        self.supervisor.tick()
        if child.process is None:
            raise WorldDown(f"{child.name} ended with status {child.status}; {self._log_end(child)}")

    def cpu_s(self, *names: str) -> dict[str, float]:
        """CPU seconds so far of each child with its descendants. Raises WorldDown where one has ended."""
        for name in names:
            self.check(self.supervisor.children[name])
        return {name: sum(map(usage.cpu_s, self.supervisor.children[name].tree())) for name in names}

    def stop(self, *names: str) -> None:
        """End those of the children that were started."""
        for name in names:
            if name in self.supervisor.children:
                self.supervisor.stop(name)

    def say(self, text: str) -> None:
        """Print a line of progress."""
        self.console.print(f"{time.monotonic() - self._started_at:6.1f} s  {text}", soft_wrap=True)

    def measure_peer(self, stage: str, peer: str, measure: Callable[["BenchRun"], dict[str, float]]) -> None:
        """Measure a peer; the table and summary.json show the reason where it cannot run here."""
        try:
            self.theirs.setdefault(stage, {})[peer] = measure(self)
        except WorldDown as error:
            self.missing[peer] = str(error)
            self.say(f"[bold red]{peer} is not measured: {error}[/]")

    def _start(self, child: Child) -> Child:
        self.supervisor.start(child)
        self.supervisor.wait_ready([child.name], READY_WITHIN_S)
        return child

    def _runs(self, name: str) -> bool:
        child = self.supervisor.children.get(name)
        return child is not None and child.process is not None

    def _log_end(self, child: Child) -> str:
        name = child.name
        return f"the end of {self.supervisor.log_of(name)}:\n{self.supervisor.last_lines(name)}"
