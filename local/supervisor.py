"""Child processes: started, watched, restarted when they die, and ended.

Nothing runs in the background: the owner calls `tick` in its own loop. Each child leads a process group, so
that Ctrl-C reaches only the supervisor, which then ends the children in order. It leads no session, because
Linux divides a busy machine between sessions (autogroup), and a fleet of many processes would get no more of
it than one mosquitto. The kernel kills the children of a supervisor that is gone (PR_SET_PDEATHSIG, set by
setpriv of util-linux), so that even SIGKILL leaves none.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from plumbing.life import WorldDown

_BACKOFF_S_MIN, _BACKOFF_S_MAX = 0.5, 15.0
# A child that ran for this long had recovered: its next restart is quick again.
_SOUND_AFTER_S = 30.0
_POLL_S = 0.05
_LOG_LINES_SHOWN = 15
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

State = Literal["starting", "ready", "waiting", "ended"]


@dataclass(eq=False)
class Child:
    """A process to run, and its state."""

    name: str
    argv: Sequence[str]
    ready: Callable[[], bool] = lambda: True  # whether it does its work
    stuck: Callable[[], bool] = lambda: False  # whether it runs but will not work again: it is then restarted
    may_start: Callable[[], bool] = lambda: True  # whether it may be started again now
    restart: bool = True  # False: a job that ends by itself
    tells: bool = False  # whether what a job has printed becomes events
    on_return: "Child | None" = None  # a job to run whenever the child works again after it did not
    env: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None  # its working directory; None: the supervisor's own
    stop_within_s: float = 25.0

    state: State = "ended"
    status: int | None = None  # the exit status of a job, or of a child that was stopped
    restarts: int = 0
    log_from: int = 0  # where the log of its last process begins, bytes
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0  # time.monotonic, as the two below
    retry_at: float = 0.0
    away_until: float = 0.0
    _worked: bool = False
    _quick_deaths: int = 0

    @property
    def pid(self) -> int | None:
        """The process id; None while it does not run."""
        return self.process.pid if self.process is not None else None

    def tree(self) -> list[int]:
        """Process ids of the child and of all processes that it started."""
        return descendants(self.pid) if self.pid is not None else []


class Supervisor:
    """Children in the order of their start; they are ended in the opposite order."""

    def __init__(self, logs: Path) -> None:
        """`logs` is the folder for the children's log files."""
        self.logs = logs
        self.children: dict[str, Child] = {}
        self.events: list[str] = []
        self._events_taken = 0
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, child: Child) -> Child:
        """Start a child, in place of one of the same name that has ended."""
        earlier = self.children.pop(child.name, None)
        assert earlier is None or earlier.process is None, f"{child.name} is running"
        self.children[child.name] = child
        self._spawn(child)
        return child

    def tick(self) -> None:
        """Notice dead children, restart those that are due, ask the others whether they are ready."""
        now = time.monotonic()
        for child in list(self.children.values()):
            if child.process is not None and (status := child.process.poll()) is not None:
                self._ended(child, status, now)
            elif child.state == "waiting" and now >= child.retry_at and child.may_start():
                child.restarts += 1
                self._spawn(child)
            elif child.process is not None and child.stuck():
                self.events.append(f"{child.name} runs but no longer works: killed")
                self.kill(child.name)
            elif child.process is not None:
                before, child.state = child.state, "ready" if child.ready() else "starting"
                if child.state == "ready" != before:
                    self._works(child)

    def wait_ready(self, names: Sequence[str], timeout_s: float) -> None:
        """Wait until all are ready. Raises WorldDown with the end of the log of one that is not in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.tick()
            late = [name for name in names if self.children[name].state != "ready"]
            if not late:
                return
            dead = [name for name in late if self.children[name].state in ("ended", "waiting")]
            if dead or time.monotonic() > deadline:
                name = (dead or late)[0]
                why = "ended" if dead else f"is not ready after {timeout_s:.0f} s"
                raise WorldDown(f"{name} {why}; the end of {self.log_of(name)}:\n{self.last_lines(name)}")
            time.sleep(_POLL_S)

    def stop(self, name: str) -> int | None:
        """End one child, keep it ended, and return its exit status."""
        child = self.children[name]
        child.restart = False
        if child.process is not None:
            self._signal(child, signal.SIGTERM)
            self._reap(child)
        child.state = "ended"
        return child.status

    def stop_all(self, within_s: float | None = None) -> None:
        """End all children, the last started first; `within_s`: all at once, and then kill what is left."""
        deadline = None if within_s is None else time.monotonic() + within_s
        for child in self.children.values() if deadline else ():
            self._signal(child, signal.SIGTERM)
        for name, child in reversed(list(self.children.items())):
            if deadline:
                child.stop_within_s = max(0.0, deadline - time.monotonic())
            self.stop(name)

    def kill(self, name: str, number: int = signal.SIGKILL, *, away_s: float = 0.0) -> None:
        """Send SIGKILL or another signal; a child that is restarted is not within the next `away_s`."""
        self.children[name].away_until = time.monotonic() + away_s
        self._signal(self.children[name], number)

    def new_events(self) -> list[str]:
        """Events since the last call."""
        start, self._events_taken = self._events_taken, len(self.events)
        return self.events[start:]

    def log_of(self, name: str) -> Path:
        """The log file of a child."""
        return self.logs / f"{name}.log"

    def last_lines(self, name: str) -> str:
        """The last lines of a child's log, of its last process."""
        with contextlib.suppress(OSError, KeyError):
            log = self.log_of(name).read_bytes()[self.children[name].log_from :]
            return "\n".join(log.decode(errors="replace").splitlines()[-_LOG_LINES_SHOWN:])
        return ""

    def memory_mib(self) -> float:
        """Memory (PSS) of all children and what they started."""
        return sum(pss_mib(pid) for child in self.children.values() for pid in child.tree())

    @property
    def restarts(self) -> int:
        """How often children were restarted, all together."""
        return sum(child.restarts for child in self.children.values())

    def _works(self, child: Child) -> None:
        if child._worked and child.on_return is not None:
            if child.on_return.process is not None:
                self.stop(child.on_return.name)  # of an earlier return
            self.start(child.on_return)
        child._worked = True

    def _spawn(self, child: Child) -> None:
        with self.log_of(child.name).open("ab") as log:
            child.log_from = log.tell()
            child.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *child.argv],
                env={**os.environ, **child.env},
                cwd=child.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        child.started_at = time.monotonic()
        child.state = "starting"

    def _ended(self, child: Child, status: int, now: float) -> None:
        child.process, child.status = None, status
        if not child.restart:
            child.state = "ended"
            if child.tells:
                self.events += [f"{child.name}: {line}" for line in self.last_lines(child.name).splitlines()]
            return
        sound = now - child.started_at > _SOUND_AFTER_S
        child._quick_deaths = 0 if sound else child._quick_deaths + 1
        delay_s = min(_BACKOFF_S_MAX, _BACKOFF_S_MIN * 2**child._quick_deaths)
        child.state, child.retry_at = "waiting", max(now + delay_s, child.away_until)
        delay_s = child.retry_at - now
        what = f"signal {-status}" if status < 0 else f"status {status}"
        self.events.append(f"{child.name} ended with {what}; restarted in {delay_s:.1f} s")

    def _reap(self, child: Child) -> None:
        assert child.process is not None
        pids = child.tree()
        try:
            child.status = child.process.wait(child.stop_within_s)
        except subprocess.TimeoutExpired:
            self.events.append(f"{child.name} did not end within {child.stop_within_s:.0f} s and was killed")
            self._signal(child, signal.SIGKILL)
            child.status = child.process.wait()
        child.process = None
        for pid in pids:  # its own children, if it left any
            with contextlib.suppress(ProcessLookupError):
                if os.getpgid(pid) in pids:
                    os.kill(pid, signal.SIGKILL)

    @staticmethod
    def _signal(child: Child, number: int) -> None:
        if child.process is not None:
            with contextlib.suppress(ProcessLookupError):
                child.process.send_signal(number)


def pss_mib(pid: int) -> float:
    """Proportional memory of a process in MiB, or the resident one where the kernel does not tell it."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return rss_mib(pid)


def rss_mib(pid: int) -> float:
    """Resident memory of a process in MiB, shared libraries in full; 0 when it is gone."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / 1024**2
    return 0.0


def descendants(pid: int) -> list[int]:
    """Process ids of a process and of all that it started."""
    pids = [pid]
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in children:
            pids += descendants(int(child))
    return pids
