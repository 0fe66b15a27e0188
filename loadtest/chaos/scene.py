"""The running deployment as a fault sees it: what it may do to it, and how it waits."""

import time
from collections.abc import Callable
from typing import Any

from contract.topics import MODELS, MODELS_LOG
from loadtest.chaos.relay import Relay
from loadtest.chaos.volume import Volume
from local.deployment import TRAINER, Deployment
from local.java import ROOT
from local.ledger import read_topic
from local.supervisor import Child, Supervisor
from local.watch import scrape
from plumbing.life import Stop

BACK_WITHIN_S = 120.0
_LOOK_S = 0.05


class Skipped(Exception):
    """The fault cannot be injected on this machine; the message says why."""


class NotBack(Exception):
    """What the fault waited for did not happen in time; the message says what."""


class Interrupted(Exception):
    """Somebody wants the run to end."""


class Scene:
    """Faults touch the deployment only through this."""

    def __init__(
        self,
        deployment: Deployment,
        relay: Relay,
        volume: Volume | str,
        stop: Stop,
        look: Callable[[], Any],
    ) -> None:
        """`volume`: the edge Kafka's, or why it has none of its own; `look` is called while time passes."""
        self.deployment, self.relay = deployment, relay
        self.broken: list[str] = []  # promises of the present fault that did not hold
        self.returned_at: float | None = None
        self._volume, self._stop, self._look = volume, stop, look

    @property
    def supervisor(self) -> Supervisor:
        """Of all processes."""
        return self.deployment.supervisor

    @property
    def volume(self) -> Volume:
        """The edge Kafka's own file system. Raises Skipped where it has none."""
        if isinstance(self._volume, str):
            raise Skipped(self._volume)
        return self._volume

    def wait(self, seconds: float) -> None:
        """Let time pass; the supervisor goes on starting again what died. Raises Interrupted."""
        until = time.monotonic() + seconds
        while True:
            if self._stop.requested:
                raise Interrupted
            self.supervisor.tick()
            self._look()
            left_s = until - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(_LOOK_S, left_s))

    def until(self, condition: Callable[[], object], what: str, within_s: float = BACK_WITHIN_S) -> None:
        """Raises NotBack, naming `what`, where it does not come true in time."""
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                raise NotBack(f"not within {within_s:.0f} s: {what}")
            self.wait(_LOOK_S)

    def kill(self, name: str, *, away_s: float = 0.0) -> None:
        """SIGKILL, and wait until its successor does its work again, `away_s` later at the earliest."""
        before = self.supervisor.children[name].pid
        self.supervisor.kill(name, away_s=away_s)
        self.until_successor(name, before)

    def until_successor(self, name: str, before: int | None) -> None:
        """Until another process than `before` does the work of the child."""
        child = self.supervisor.children[name]
        self.until(lambda: child.pid not in (None, before) and child.state == "ready", f"{name} works again")

    def pause(self, name: str, seconds: float) -> None:
        """SIGSTOP for a while."""
        self.supervisor.pause(name)
        try:
            self.wait(seconds)
        finally:
            self.supervisor.resume(name)

    def back(self) -> None:
        """From now on the recovery counts; without it, from the end of the fault."""
        self.returned_at = time.time()

    def claim(self, holds: object, otherwise: str) -> None:
        """A promise of the fault beside those that the auditor looks after."""
        if not holds:
            self.broken.append(otherwise)

    def scorer_metric(self, number: int, name: str) -> float:
        """Of a replica; 0 where it does not answer."""
        return scrape(self.deployment.plan.ports.scorer(number)).get(name, 0.0)

    def train(self, *arguments: str, half_way: bool = False) -> int | None:
        """Run the trainer to its end; its exit status. `half_way`: killed before it commits."""
        python, dash, *command = [*self.deployment.training_command(), *arguments]
        launcher = ["loadtest.chaos.half_way", *command] if half_way else command
        environment = {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
        argv = ["nice", "-n", "10", python, dash, *launcher]
        child = self.supervisor.start(Child(TRAINER, argv, restart=False, env=environment))
        self.until(lambda: child.process is None, "the trainer ends", 600)
        return child.status

    def models(self) -> tuple[int, int]:
        """How many records a reader of committed ones sees in `models` and `models.log`."""
        bootstrap = self.deployment.cloud.bootstrap
        return (_count(bootstrap, MODELS), _count(bootstrap, MODELS_LOG))


def _count(bootstrap: str, topic: str) -> int:
    return sum(len(batch) for batch in read_topic(bootstrap, topic))
