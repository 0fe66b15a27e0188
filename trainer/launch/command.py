"""`python -m trainer launch`: starts the training Job in a cluster, follows it, ends with its exit code.

The Job is made from the template of the CronJob that also trains by schedule: there is one copy of it.
"""

import copy
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from plumbing import life
from plumbing.life import WorldDown
from plumbing.settings import SettingsError, load
from trainer.launch.api import Gone, JobApi, connect
from trainer.launch.job_state import CONTAINER, NO_EXIT_CODE, JobState, job_state
from trainer.launch.settings import Settings
from trainer.table import table

TIMED_OUT = 124  # as timeout(1)
STOPPED = 130  # as a shell after Ctrl-C
_LOOK_EVERY_S = 1.0
_REMIND_S = 30.0  # a phase that lasts is shown again
OUT_OF_SIGHT_S = 60.0  # an upgrade of the API server takes less
_MEANINGS = {
    0: "trained and published, or a trial goes on",
    2: "bad settings",
    3: "refused by the gate, nothing published",
}
DESCRIPTION = """\
Starts the training Job from the template of a CronJob, follows it, and ends with its exit code.
Arguments after -- are added to the trainer's: python -m trainer launch -- --seed 7

Exit codes: the pod's (0 published, 1 the world is down, 2 bad settings, 3 refused by the gate, 143 stopped);
2 also if the template is missing or something is not allowed, 124 given up waiting, 130 after Ctrl-C.
"""


def main(argv: Sequence[str]) -> int:
    """The command. Raises SettingsError, WorldDown."""
    own, added = split(argv)
    settings = load(
        Settings, prefix="LAUNCH", argv=own, description=DESCRIPTION, command="python -m trainer launch"
    )
    api = connect(settings.kubeconfig, settings.context, settings.namespace)
    return Launch(settings, api, life.Stop().install()).run(added)


def split(argv: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """(own arguments, arguments for the trainer), which stand before and after `--`."""
    dashes = list(argv).index("--") if "--" in argv else len(argv)
    return argv[:dashes], argv[dashes + 1 :]


def job_from(cronjob: dict[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    """A Job as `kubectl create job --from=cronjob/…` makes it, with more arguments. Raises SettingsError."""
    template = copy.deepcopy(cronjob["spec"]["jobTemplate"])
    name = cronjob["metadata"]["name"]
    containers = {each["name"]: each for each in template["spec"]["template"]["spec"]["containers"]}
    if CONTAINER not in containers:
        raise SettingsError(f"CronJob {name} has no container {CONTAINER} but {', '.join(containers)}")
    if arguments:
        containers[CONTAINER]["args"] = [*containers[CONTAINER].get("args", []), *arguments]
    metadata = template.get("metadata") or {}
    # With an owner the CronJob's history limits count this Job, too.
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": name, "uid": cronjob["metadata"]["uid"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "generateName": f"{name}-",
            "labels": metadata.get("labels", {}),
            "annotations": {"cronjob.kubernetes.io/instantiate": "manual", **metadata.get("annotations", {})},
            "ownerReferences": [owner | {"controller": True}],
        },
        "spec": template["spec"],
    }


def runs_for(job: dict[str, Any], cronjob: str) -> bool:
    """Whether a Job belongs to a CronJob, started by its schedule or by hand, and has not ended."""
    owners = job["metadata"].get("ownerReferences") or ()
    ended = job_state(job, (), ()).exit_code is not None
    return not ended and any(o["kind"] == "CronJob" and o["name"] == cronjob for o in owners)


@dataclass
class Launch:
    """One Job from its start to its end."""

    settings: Settings
    api: JobApi
    stop: life.Stop
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    show: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)  # progress
    say: Callable[[str], None] = lambda line: print(line, flush=True)  # the pod's log

    def run(self, arguments: Sequence[str]) -> int:
        """Start, follow, report. Returns the exit code. Raises SettingsError, WorldDown."""
        cronjob, job = self.api.cronjob(self.settings.cronjob), None
        if self.settings.if_running == "follow":
            job = next((each for each in self.api.jobs() if runs_for(each, self.settings.cronjob)), None)
        done = "runs already" if job else "made"
        job = job or self.api.create_job(job_from(cronjob, arguments))
        self._name, self._began_s = job["metadata"]["name"], self.clock()
        self._log_pod, self._log_until = "", ""  # the pod whose log is shown, and the last line's time stamp
        self._show(f"{self.api.where}: Job {self._name} {done} in namespace {self.api.namespace}")
        try:
            return self._follow()
        except Gone:
            self._show(f"Job {self._name} was deleted by somebody else")
            return NO_EXIT_CODE

    def _follow(self) -> int:
        shown, shown_s, phase, since_s = "", 0.0, "", 0.0
        while True:
            now, after_s = self._state(), self.clock() - self._began_s
            if now.phase != phase:
                phase, since_s = now.phase, after_s
            line = now.phase + (f": {now.detail}" if now.detail else "")
            if line != shown or after_s - shown_s >= _REMIND_S:
                self._show(line + (f" ({now.pod} on {now.node})" if now.node and line != shown else ""))
                shown, shown_s = line, after_s
            if now.phase == "running" or now.exit_code is not None:
                self._show_log(now.pod)
            if now.exit_code is not None:
                return self._report(now, now.exit_code)
            if self.stop.requested:
                return self._leave(now, "stopped", STOPPED)
            if reason := self._too_long(now, after_s, after_s - since_s):
                return self._leave(now, f"given up: {reason}", TIMED_OUT)
            self.sleep(_LOOK_EVERY_S)

    def _state(self) -> JobState:
        """The state now; that the API server does not answer is one, too."""
        try:
            job, pods = self.api.job(self._name), self.api.pods(self._name)
            names = [self._name, *(pod["metadata"]["name"] for pod in pods)]
            return job_state(job, pods, [event for name in names for event in self.api.events(name)])
        except WorldDown as error:
            return JobState("out of sight", f"{error}; the Job goes on")

    def _show_log(self, pod: str) -> None:
        """Show what the pod has logged since the last call, and what its predecessor had left."""
        for each in filter(None, dict.fromkeys((self._log_pod, pod))):
            if each != self._log_pod:
                self._log_pod, self._log_until = each, ""
            with suppress(WorldDown, SettingsError):  # _state asks the same server and reports errors
                for stamp, line in self.api.log_lines(each, CONTAINER, self._log_until):
                    self._log_until = stamp
                    self.say(line)

    def _too_long(self, now: JobState, after_s: float, lasts_s: float) -> str:
        """Why to give up, in the phase that lasts for `lasts_s`; "" to go on. Raises WorldDown."""
        if now.phase == "out of sight" and lasts_s >= OUT_OF_SIGHT_S:
            raise WorldDown(now.detail)
        if now.phase == "blocked" and lasts_s >= self.settings.blocked_s:
            return f"the pod has been unable to start for {lasts_s:.0f} s (--blocked-s): {now.detail}"
        if after_s >= self.settings.timeout_s:
            return f"{now.phase}, not ended after {after_s:.0f} s (--timeout-s)"
        return ""

    def _leave(self, now: JobState, reason: str, code: int) -> int:
        self._show(reason)
        kubectl = f"kubectl -n {self.api.namespace}"
        if code != STOPPED:
            self._show(f"look at: {kubectl} describe {f'pod {now.pod}' if now.pod else f'job {self._name}'}")
        if self.settings.on_stop == "delete":
            self.api.delete_job(self._name)
            self._show(f"Job {self._name} deleted")
        else:
            self._show(f"Job {self._name} goes on: {kubectl} logs -f job/{self._name}")
            self._show(f"to end it: {kubectl} delete job {self._name}")
        return code

    def _report(self, now: JobState, code: int) -> int:
        rows = {
            "job": self._name,
            "pod": now.pod,
            "node": now.node,
            "ended after": f"{self.clock() - self._began_s:.1f} s",
            "failed attempts": now.retries,
            "exit code": code,
            "that is": _MEANINGS.get(code, "failed: the log says why"),
            "the Job says": now.detail,
        }
        self.show(table(["training", now.phase], [[name, str(value) or "-"] for name, value in rows.items()]))
        return code

    def _show(self, line: str) -> None:
        self.show(f"{self.clock() - self._began_s:6.1f} s  {line}")
