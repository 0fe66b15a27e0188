"""`python -m trainer launch`: starts the training Job in a cluster, follows it, ends with its exit code.

The Job is made from the template of the CronJob that also trains by schedule: there is one copy of it.
"""

import copy
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from plumbing import life, settings
from plumbing.life import WorldDown
from plumbing.settings import SettingsError
from trainer.launch.api import Cluster, Gone, connect
from trainer.launch.job_state import NO_EXIT_CODE, State, state
from trainer.launch.settings import Settings
from trainer.table import table

TIMED_OUT = 124  # as timeout(1)
STOPPED = 130  # as a shell after Ctrl-C
_LINES_MAX = 10_000  # of log between two looks; the reader waits when they are not shown
_REMIND_S = 30.0
_MEANINGS = {0: "trained and published", 2: "bad settings", 3: "refused by the gate, nothing published"}
DESCRIPTION = """\
Starts the training Job from the template of a CronJob, follows it, and ends with its exit code.
What stands after -- is added to the trainer's arguments: python -m trainer launch -- --seed 7

Exit codes: the pod's (0 published, 1 the world is down, 2 bad settings, 3 refused by the gate, 143 stopped);
2 also where the template is missing or something is not allowed, 124 given up waiting, 130 after Ctrl-C.
"""


def main(argv: Sequence[str]) -> int:
    """The command. Raises SettingsError, WorldDown."""
    own, added = split(argv)
    told = settings.load(Settings, prefix="LAUNCH", argv=own, environ=os.environ, description=DESCRIPTION)
    cluster = connect(told.kubeconfig, told.context, told.namespace)
    return Launch(told, cluster, life.Stop().install()).run(added)


def split(argv: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """(own arguments, arguments for the trainer) of `own -- trainer's`."""
    if "--" not in argv:
        return argv, []
    place = list(argv).index("--")
    return argv[:place], argv[place + 1 :]


def job_from(cronjob: dict[str, Any], container: str, arguments: Sequence[str]) -> dict[str, Any]:
    """A Job as `kubectl create job --from=cronjob/…` makes it, with more arguments. Raises SettingsError."""
    template = copy.deepcopy(cronjob["spec"]["jobTemplate"])
    name = cronjob["metadata"]["name"]
    containers = {one["name"]: one for one in template["spec"]["template"]["spec"]["containers"]}
    if container not in containers:
        raise SettingsError(
            f"CronJob {name} has no container {container}; known are {', '.join(sorted(containers))}"
        )
    if arguments:
        containers[container]["args"] = [*containers[container].get("args", []), *arguments]
    metadata = template.get("metadata") or {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "generateName": f"{name}-",
            "labels": metadata.get("labels", {}),
            "annotations": {"cronjob.kubernetes.io/instantiate": "manual", **metadata.get("annotations", {})},
            # The CronJob's history limits then count this Job, too.
            "ownerReferences": [
                {
                    "apiVersion": "batch/v1",
                    "kind": "CronJob",
                    "name": name,
                    "uid": cronjob["metadata"]["uid"],
                    "controller": True,
                }
            ],
        },
        "spec": template["spec"],
    }


@dataclass
class Launch:
    """One Job from its start to its end. `clock`: monotonic seconds; `show` gets progress, `say` the log."""

    told: Settings
    cluster: Cluster
    stop: life.Stop
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    show: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)
    say: Callable[[str], None] = lambda line: print(line, flush=True)
    times_s: dict[str, float] = field(default_factory=dict)  # when each phase was first seen, after the start

    def run(self, arguments: Sequence[str]) -> int:
        """Start, follow, report. Returns the exit code. Raises SettingsError, WorldDown."""
        cronjob = self.cluster.cronjob(self.told.cronjob)
        job = self.cluster.create_job(job_from(cronjob, self.told.container, arguments))
        self._name, self._began_s = job["metadata"]["name"], self.clock()
        self._show(f"{self.cluster.where}: Job {self._name} made in namespace {self.cluster.namespace}")
        try:
            return self._follow()
        except Gone:
            self._show(f"Job {self._name} was deleted by somebody else")
            return NO_EXIT_CODE

    def _follow(self) -> int:
        log, shown, reminded_s, blocked_since_s = _Log(self.cluster, self.told.container), "", 0.0, 0.0
        while True:
            now = self._look_patiently()
            after_s = self.clock() - self._began_s
            self.times_s.setdefault(now.phase, after_s)
            line = now.phase + (f": {now.detail}" if now.detail else "")
            if line != shown or after_s - reminded_s >= _REMIND_S:
                self._show(line + (f" ({now.pod} on {now.node})" if now.node and line != shown else ""))
                shown, reminded_s = line, after_s
            if now.phase != "blocked":
                blocked_since_s = after_s
            if now.phase == "running" or now.ended:
                log.follow(now.pod)
            log.drain(self.say)
            if now.ended:
                log.finish(self.say)
                return self._report(now)
            if self.stop.requested:
                return self._leave(now, "stopped", STOPPED)
            if why := self._too_long(now, after_s, after_s - blocked_since_s):
                return self._leave(now, why, TIMED_OUT)
            self.sleep(self.told.poll_s)

    def _look_patiently(self) -> State:
        """The state; an API server that is away for a while (an upgrade, a laptop's network) ends nothing."""
        until_s = self.clock() + self.told.away_s
        while True:
            try:
                return self._look()
            except WorldDown as error:
                if self.clock() >= until_s or self.stop.requested:
                    raise
                self._show(f"{error}; the Job goes on, looking again")
                self.sleep(self.told.poll_s)

    def _look(self) -> State:
        job = self.cluster.job(self._name)
        pods = self.cluster.pods(self._name)
        names = [self._name, *(pod["metadata"]["name"] for pod in pods)]
        waiting = not any((pod.get("status") or {}).get("phase") == "Running" for pod in pods)
        events = [event for name in names for event in self.cluster.events(name)] if waiting else []
        return state(job, pods, events, self.told.container)

    def _too_long(self, now: State, after_s: float, blocked_s: float) -> str:
        if now.phase == "blocked" and blocked_s >= self.told.blocked_s:
            return f"given up: the pod has been unable to start for {blocked_s:.0f} s: {now.detail}"
        if "running" not in self.times_s and after_s >= self.told.start_timeout_s:
            return f"given up: not running after {after_s:.0f} s (--start-timeout-s): {now.detail}"
        if after_s >= self.told.timeout_s:
            return f"given up: not ended after {after_s:.0f} s (--timeout-s)"
        return ""

    def _leave(self, now: State, why: str, code: int) -> int:
        self._show(why)
        kubectl = f"kubectl -n {self.cluster.namespace}"
        if code != STOPPED:
            self._show(f"look at: {kubectl} describe {f'pod {now.pod}' if now.pod else f'job {self._name}'}")
        if self.told.on_stop == "delete":
            self.cluster.delete_job(self._name)
            self._show(f"Job {self._name} deleted")
        else:
            self._show(f"Job {self._name} goes on: {kubectl} logs -f job/{self._name}")
            self._show(f"to end it: {kubectl} delete job {self._name}")
        return code

    def _report(self, now: State) -> int:
        code = NO_EXIT_CODE if now.exit_code is None else now.exit_code
        ran_s = self.clock() - self._began_s
        started_s = self.times_s.get("running")
        rows = [
            ["job", self._name],
            ["pod", now.pod],
            ["node", now.node],
            ["image", now.image],
            ["running after", None if started_s is None else f"{started_s:.1f} s"],
            ["ended after", f"{ran_s:.1f} s"],
            ["failed attempts", now.retries],
            ["exit code", code],
            ["that is", _MEANINGS.get(code, "failed: the log says why")],
            ["the Job says", now.detail],
        ]
        shown = [[name, "-" if value in (None, "") else str(value)] for name, value in rows]
        self.show(table(["training", now.phase], shown))
        return code

    def _show(self, line: str) -> None:
        self.show(f"{self.clock() - self._began_s:6.1f} s  {line}")


class _Log:
    """Lines of the newest pod, read by a thread; a stream that breaks goes on after the last line shown."""

    def __init__(self, cluster: Cluster, container: str) -> None:
        self._cluster, self._container = cluster, container
        self._lines: queue.Queue[str] = queue.Queue(_LINES_MAX)
        self._thread: threading.Thread | None = None
        self._pod, self._until = "", ""

    def follow(self, pod: str) -> None:
        """Read this pod's log from now on, if no thread does."""
        if pod != self._pod:
            self._pod, self._until, self._thread = pod, "", None
        if pod and (self._thread is None or not self._thread.is_alive()):
            # A daemon: a stream that hangs must not keep the command from ending.
            self._thread = threading.Thread(target=self._read, args=(pod,), name="pod-log", daemon=True)
            self._thread.start()

    def drain(self, say: Callable[[str], None]) -> None:
        """Show what has come."""
        while not self._lines.empty():
            say(self._lines.get_nowait())

    def finish(self, say: Callable[[str], None], within_s: float = 10.0) -> None:
        """The pod has ended: show the rest."""
        deadline_s = time.monotonic() + within_s
        while self._thread is not None and self._thread.is_alive() and time.monotonic() < deadline_s:
            self.drain(say)
            self._thread.join(0.05)
        self.drain(say)

    def _read(self, pod: str) -> None:
        seen_until = self._until
        with suppress(WorldDown, SettingsError):  # the loop looks at the Job anyway, and says what is wrong
            for stamp, text in self._cluster.log_lines(pod, self._container):
                if stamp > seen_until:
                    self._lines.put(text)
                    self._until = stamp
