"""Runs one command under a time limit, its output in a log file, and leaves no process of it behind."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from local.supervisor import descendants
from plumbing.life import Stop
from tests.proofs.proof import Ended

_LOOK_S = 0.25
# To end in order: pytest's fixtures, brokers, a cluster's pods.
_GRACE_S = ((signal.SIGINT, 90.0), (signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0))
_ORPHANS_WITHIN_S = 10.0
_PR_SET_CHILD_SUBREAPER = 36


class Interrupted(Exception):
    """Ctrl-C or SIGTERM came while a command ran."""


def adopt_orphans() -> None:
    """Make this process the parent of what its children leave behind (prctl(2)), so that it can be ended."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run(
    argv: Sequence[str],
    *,
    root: Path,
    log: Path,
    minutes_max: float,
    stop: Stop,
    show: Callable[[float, str], None],
) -> Ended:
    """Run a command to its end, or to its time limit. Raises Interrupted.

    `show` is called four times a second with the seconds so far and the last line of the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    # Make's own variables would pass what was given to `make proofs` on to every command.
    env = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    }
    began, status, others = time.monotonic(), None, set(descendants(os.getpid()))
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
            env=env | {"PYTHONUNBUFFERED": "1"},
        )
    try:
        while (status := process.poll()) is None and not stop.requested:
            seconds = time.monotonic() - began
            show(seconds, _last_line(log))
            if seconds > 60 * minutes_max:
                break
            _reap_orphans(process.pid)
            time.sleep(_LOOK_S)
    finally:
        _end(process)
        _end_orphans(others)
    if stop.requested and status is None:
        raise Interrupted
    return Ended(status, time.monotonic() - began, root, log.read_text(encoding="utf-8", errors="replace"))


def _reap_orphans(but: int) -> None:
    """Take the exit status of adopted processes that have ended: a test may wait for them to be gone."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid != but:
            os.waitpid(ended.si_pid, 0)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a command's process group, at first in order."""
    for number, grace_s in _GRACE_S:
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)


def _end_orphans(others: set[int]) -> None:
    """Kill whatever is left of what a command started; `others` were there before."""
    deadline = time.monotonic() + _ORPHANS_WITHIN_S
    while (orphans := set(descendants(os.getpid())) - others) and time.monotonic() < deadline:
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):  # a grandchild is not ours to wait for yet
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.02)


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
