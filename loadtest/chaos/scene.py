"""The running deployment as a fault sees it: what a fault may do to it, and how it waits."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from greenlet import getcurrent, greenlet

from contract.manifest import pack, unpack
from contract.topics import MODELS, MODELS_LOG
from loadtest.chaos.follower import LogFollower
from loadtest.chaos.small_fleet import SmallFleet
from loadtest.chaos.volume import Volume
from local.deployment import ENVIRONMENT, TRAINER, Deployment
from local.ledger import read_topic
from local.supervisor import Child, Supervisor
from local.watch import scrape
from plumbing import kafka
from plumbing.life import Stop, WorldDown

BACK_WITHIN_S = 120.0
_POLL_S = 0.05


class Skipped(Exception):
    """The fault cannot be injected on this machine; the message says why."""


class RunInterrupted(Exception):
    """The run was asked to end (SIGINT, SIGTERM)."""


class Scene:
    """Faults touch the deployment only through this.

    Two faults at the same time take turns: one goes on while the other waits. They are greenlets and not
    threads, because the kernel kills a child with the thread that started it (local/supervisor.py).
    """

    follower: LogFollower  # of the running deployment's logs; the run sets it

    def __init__(
        self,
        deployment: Deployment,
        volume: Volume | str,
        stop: Stop,
        observe: Callable[[], Any],
        *,
        model: Path,
        small_fleet: SmallFleet | None = None,
        pace: float = 1.0,
    ) -> None:
        """`volume` is edge Kafka's, or why there is none; `model` is the file of the model in use.

        `observe` is called while time passes; `small_fleet`: the cars whose clock faults may set; `pace` is
        multiplied to how long parts are away or paused.
        """
        self.deployment = deployment
        self._small_fleet = small_fleet
        self._model, self._version, self.pace = model, unpack(model.read_bytes())[0].version, pace
        self._second: greenlet | None = None  # the fault that was injected beside the first one
        self.broken: list[str] = []  # promises of the present fault that did not hold
        self.returned_at: float | None = None  # when what the fault took away was back, s since 1970
        self._volume, self._stop, self._observe = volume, stop, observe

    @property
    def supervisor(self) -> Supervisor:
        """The supervisor of all processes."""
        return self.deployment.supervisor

    @property
    def volume(self) -> Volume:
        """Edge Kafka's own file system. Raises Skipped where it has none."""
        if isinstance(self._volume, str):
            raise Skipped(self._volume)
        return self._volume

    def wait(self, seconds: float) -> None:
        """Let time pass while the supervisor restarts what died. Raises RunInterrupted."""
        until = time.monotonic() + seconds
        while True:
            if self._stop.requested:
                raise RunInterrupted
            self.supervisor.tick()
            self._observe()
            if self._second is not None:  # its turn comes also where all that is waited for takes longer
                (self._second.parent if getcurrent() is self._second else self._second).switch()
            left_s = until - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(_POLL_S, left_s))

    def until(self, condition: Callable[[], object], what: str, within_s: float = BACK_WITHIN_S) -> None:
        """Raises WorldDown, naming `what`, where the condition does not come true in time."""
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                raise WorldDown(f"not within {within_s:.0f} s: {what}")
            self.wait(_POLL_S)

    def kill(self, name: str, *, away_s: float = 0.0) -> None:
        """SIGKILL, then wait until the successor is ready; it starts after `away_s` at the earliest."""
        before = self.supervisor.children[name].pid
        self.supervisor.kill(name, away_s=away_s * self.pace)
        self.until_successor(name, before)

    @contextmanager
    def away(self, name: str) -> Iterator[None]:
        """SIGKILL; the successor starts at the end of the context, and is ready after it."""
        child = self.supervisor.children[name]
        before, may_start = child.pid, child.may_start
        child.may_start = lambda: False
        self.supervisor.kill(name)
        try:
            yield
        finally:
            child.may_start, child.retry_at = may_start, 0.0
            self.until_successor(name, before)

    def last_log(self, name: str) -> str:
        """What the last process of a child has logged."""
        log = self.supervisor.log_of(name).read_bytes()
        return log[self.supervisor.children[name].log_from :].decode(errors="replace")

    def until_successor(self, name: str, before: int | None) -> None:
        """Wait until another process than `before` (its id) is ready as this child."""
        child = self.supervisor.children[name]
        self.until(lambda: child.pid not in (None, before) and child.state == "ready", f"{name} works again")

    def pause(self, name: str, seconds: float) -> None:
        """SIGSTOP for a while."""
        self.supervisor.kill(name, signal.SIGSTOP)
        try:
            self.wait(seconds * self.pace)
        finally:
            self.supervisor.kill(name, signal.SIGCONT)

    def clock_wrong(self, ahead_s: int, for_s: float) -> None:
        """Set the clock of the small fleet ahead, or (negative) behind, and right again."""
        if self._small_fleet is None:
            raise Skipped("only runs with --pairs have cars whose clock can be set")
        self._small_fleet.set_clock(ahead_s)
        try:
            self.wait(for_s * self.pace)
        finally:
            self._small_fleet.set_clock(0)

    def run_from(self, name: str, folder: Path | None) -> None:
        """End a service and start it with the code in `folder`; None: with this one."""
        child = self.supervisor.children[name]
        child.folder, child.env = folder, ENVIRONMENT | ({"PYTHONPATH": str(folder)} if folder else {})
        before = child.pid
        self.supervisor.kill(name, signal.SIGTERM)
        self.until_successor(name, before)

    def back(self) -> None:
        """Recovery counts from now on; without this call, from the end of the fault."""
        self.returned_at = time.time()

    def claim(self, holds: object, otherwise: str) -> None:
        """Note `otherwise` where a promise of the fault does not hold."""
        if not holds:
            self.broken.append(otherwise)

    def beside(self, fault: Callable[["Scene"], None], after_s: float) -> "Future[None]":
        """Inject another fault in some seconds, in the time that the caller waits in its own."""
        ended: Future[None] = Future()

        def inject() -> None:
            try:
                self.wait(after_s)
                fault(self)
                ended.set_result(None)
            except (WorldDown, Skipped, RunInterrupted) as error:
                ended.set_exception(error)
            finally:
                self._second = None

        self._second = greenlet(inject)
        return ended

    def publish_model(self) -> int:
        """Publish the model in use once more, as the next version, and return that."""
        manifest, tflite = unpack(self._model.read_bytes())
        self._version += 1
        record = pack(replace(manifest, version=self._version), tflite)
        producer = kafka.producer(self.deployment.cloud.bootstrap)
        for topic in (MODELS_LOG, MODELS):
            producer.produce(topic, record, manifest.name)
        self.until(lambda: producer.flush(0) == 0, "the cloud takes a model")
        return self._version

    def scorer_metric(self, number: int, name: str) -> float:
        """A metric of a scorer replica; 0 where it does not answer."""
        return scrape(self.deployment.plan.ports.scorer(number)).get(name, 0.0)

    def train(self, *arguments: str, half_way: bool = False) -> int | None:
        """Run the trainer to its end and return its exit status; `half_way` kills it before it commits."""
        python, dash_m, *command = [*self.deployment.training_command(), *arguments]
        launcher = ["loadtest.chaos.half_way", *command] if half_way else command
        argv = ["nice", "-n", "10", python, dash_m, *launcher]
        child = self.supervisor.start(Child(TRAINER, argv, restart=False, env=ENVIRONMENT))
        self.until(lambda: child.process is None, "the trainer ends", 600)
        return child.status

    def models(self) -> tuple[int, int]:
        """Numbers of committed records in the topics `models` and `models.log`."""
        bootstrap = self.deployment.cloud.bootstrap
        models, log = (
            sum(len(batch) for batch in read_topic(bootstrap, topic)) for topic in (MODELS, MODELS_LOG)
        )
        return models, log
