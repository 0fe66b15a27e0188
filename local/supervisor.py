"""Child processes: started, watched, started again when they die, and ended for sure.

Nothing runs in the background: the owner calls `tick` in its own loop. A child leads a process group of its
own, so that Ctrl-C reaches only the supervisor, which then ends the children in order. Not a session: Linux
shares a busy machine out by session (autogroup), and a fleet of many processes would get no more of it than
one mosquitto. The kernel kills a child whose supervisor is gone (PR_SET_PDEATHSIG, by util-linux's setpriv),
so that not even SIGKILL leaves one.
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
# A child that ran so long had recovered: the next restart is quick again.
_SOUND_AFTER_S = 30.0
_POLL_S = 0.05
_LOG_LINES_SHOWN = 15
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

State = Literal["starting", "ready", "waiting", "ended"]


@dataclass(eq=False)
class Child:
    """A process to run. `ready` tells whether it does its work; without it, running is enough.

    `stuck` tells whether it runs but will not work again: it is then killed, and started again; but never
    while `may_start` says no, where starting would do harm.
    `restart` False: a job that ends by itself, whose exit status is kept in `status`.
    """

    name: str
    argv: Sequence[str]
    ready: Callable[[], bool] = lambda: True
    stuck: Callable[[], bool] = lambda: False
    may_start: Callable[[], bool] = lambda: True
    restart: bool = True
    env: Mapping[str, str] = field(default_factory=dict)
    stop_within_s: float = 25.0

    state: State = "ended"
    status: int | None = None
    restarts: int = 0
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    retry_at: float = 0.0
    away_until: float = 0.0
    _quick_deaths: int = 0

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self.process.pid if self.process is not None else None

    def tree(self) -> list[int]:
        """Process ids of the child and all that it started."""
        return descendants(self.pid) if self.pid is not None else []


class Supervisor:
    """The children in the order of their start; they end in the opposite one."""

    def __init__(self, logs: Path) -> None:
        """`logs`: folder for one file a child."""
        self.logs = logs
        self.children: dict[str, Child] = {}
        self.events: list[str] = []
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, child: Child) -> Child:
        """Start it, in place of one of the same name that has ended."""
        earlier = self.children.pop(child.name, None)
        assert earlier is None or earlier.process is None, f"{child.name} is running"
        self.children[child.name] = child
        self._spawn(child)
        return child

    def tick(self) -> None:
        """Notice what died, start again what is due, ask the others whether they are ready."""
        now = time.monotonic()
        for child in self.children.values():
            if child.process is not None and (status := child.process.poll()) is not None:
                self._ended(child, status, now)
            elif child.state == "waiting" and now >= child.retry_at and child.may_start():
                child.restarts += 1
                self._spawn(child)
            elif child.process is not None and child.stuck():
                self.events.append(f"{child.name} runs but works no more: killed")
                self.kill(child.name)
            elif child.process is not None:
                child.state = "ready" if child.ready() else "starting"

    def wait_ready(self, names: Sequence[str], timeout_s: float) -> None:
        """Until all are ready. Raises WorldDown with the end of the log of one that is not in time."""
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
        """End one child and keep it ended; its exit status."""
        child = self.children[name]
        child.restart = False
        if child.process is not None:
            self._signal(child, signal.SIGTERM)
            self._reap(child)
        child.state = "ended"
        return child.status

    def stop_all(self) -> None:
        """End all, the last started first; nothing of them is left."""
        for name in reversed(list(self.children)):
            self.stop(name)

    def kill(self, name: str, number: int = signal.SIGKILL, *, away_s: float = 0.0) -> None:
        """SIGKILL, as an accident would, or another signal.

        The child is started again if it is one that is, but not within the next `away_s`.
        """
        self.children[name].away_until = time.monotonic() + away_s
        self._signal(self.children[name], number)

    def pause(self, name: str) -> None:
        """The child stands still (SIGSTOP) until `resume`."""
        self._signal(self.children[name], signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """The child goes on where it stood still."""
        self._signal(self.children[name], signal.SIGCONT)

    def log_of(self, name: str) -> Path:
        """Its log file."""
        return self.logs / f"{name}.log"

    def last_lines(self, name: str) -> str:
        """The end of its log."""
        with contextlib.suppress(OSError):
            lines = self.log_of(name).read_text(errors="replace").splitlines()
            return "\n".join(lines[-_LOG_LINES_SHOWN:])
        return ""

    def memory_mib(self) -> float:
        """Of all children and what they started: the private part and the share of the rest (PSS)."""
        return sum(pss_mib(pid) for child in self.children.values() for pid in child.tree())

    @property
    def restarts(self) -> int:
        """How often a child was started again."""
        return sum(child.restarts for child in self.children.values())

    def _spawn(self, child: Child) -> None:
        with self.log_of(child.name).open("ab") as log:
            child.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *child.argv],
                env={**os.environ, **child.env},
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
            return
        sound = now - child.started_at > _SOUND_AFTER_S
        child._quick_deaths = 0 if sound else child._quick_deaths + 1
        delay_s = min(_BACKOFF_S_MAX, _BACKOFF_S_MIN * 2**child._quick_deaths)
        child.state, child.retry_at = "waiting", max(now + delay_s, child.away_until)
        delay_s = child.retry_at - now
        what = f"signal {-status}" if status < 0 else f"status {status}"
        self.events.append(f"{child.name} ended with {what}; started again in {delay_s:.1f} s")

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
        for pid in pids:  # of its own children, if it left any
            with contextlib.suppress(ProcessLookupError):
                if os.getpgid(pid) in pids:
                    os.kill(pid, signal.SIGKILL)

    @staticmethod
    def _signal(child: Child, number: int) -> None:
        if child.process is not None:
            with contextlib.suppress(ProcessLookupError):
                child.process.send_signal(number)


def pss_mib(pid: int) -> float:
    """Proportional memory of a process in MiB; where the kernel keeps it secret, the resident one."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return rss_mib(pid)


def rss_mib(pid: int) -> float:
    """Resident memory of a process in MiB; libraries count in full. 0 when it is gone."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / 1024**2
    return 0.0


def descendants(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in children:
            found += descendants(int(child))
    return found
