"""The processes of the seeds, a few at a time, and their progress; all of them end with this process."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from plumbing import life
from quality import seed
from quality.seed import Outcome
from quality.settings import Settings

_LOOK_S = 0.25
_LOG_EVERY_S = 10.0
_END_S = 5.0
_PR_SET_PDEATHSIG = 1
# One thread each: several processes with several threads would only wait for each other.
LIBRARIES = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    **dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"),
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "CUDA_VISIBLE_DEVICES": "-1",  # a seed is too small to gain from a GPU that all seeds would share
}


@dataclass
class Member:
    """One seed's process and its last reported progress."""

    seed: int
    process: BaseProcess
    pipe: Connection
    started: float = field(default_factory=time.monotonic)  # s
    doing: str = "starting"
    share: float = 0.0  # of the present step that is done
    outcome: Outcome | None = None  # once it is done


class Interrupted(Exception):
    """The run was asked to stop."""


def run(
    settings: Settings, data: Path, stop: life.Stop, show: Callable[[Sequence[Member]], None]
) -> list[Outcome]:
    """The outcomes in the order of the seeds. `show` is called several times a second.

    Raises Interrupted when asked to stop, WorldDown when a process failed; no process is left then.
    """
    members: list[Member] = []
    waiting = list(range(settings.first_seed, settings.first_seed + settings.seeds))
    try:
        while waiting or any(member.outcome is None for member in members):
            if stop.requested:
                raise Interrupted
            busy = {member.pipe: member for member in members if member.outcome is None}
            if waiting and len(busy) < settings.processes:
                members.append(_started(settings, waiting.pop(0), data))
                continue
            for pipe in wait(list(busy), _LOOK_S):
                _receive(busy[pipe], settings, stop)  # type: ignore[index]
            show(members)
    finally:
        for member in members:
            if member.process.is_alive():
                member.process.terminate()
        for member in members:
            member.process.join(_END_S)
            if member.process.is_alive():
                member.process.kill()
                member.process.join()
    return [member.outcome for member in members if member.outcome is not None]


@contextlib.contextmanager
def shown(console: Console, seeds: int) -> Iterator[Callable[[Sequence[Member]], None]]:
    """A function that shows the progress: live lines on a terminal, a line every ten seconds in a log."""
    started, logged = time.monotonic(), float("-inf")

    def show(members: Sequence[Member]) -> None:
        nonlocal logged
        now = time.monotonic()
        busy = [member for member in members if member.outcome is None]
        lines = [f"{now - started:4.0f} s: {len(members) - len(busy)} of {seeds} seeds done"]
        lines += [f"seed {m.seed}: {m.doing}, {m.share:.0%}, {now - m.started:.0f} s" for m in busy]
        if console.is_terminal:
            live.update(Group(*map(Text, lines)))
        elif now - logged >= _LOG_EVERY_S:
            console.print(" | ".join(lines))
            logged = now

    live = Live(console=console, refresh_per_second=4, transient=True)
    if not console.is_terminal:
        yield show
        return
    with live:
        yield show


def _started(settings: Settings, number: int, data: Path) -> Member:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    arguments = (theirs, settings, number, data / f"seed-{number}", os.getpid())
    process = context.Process(target=_work, args=arguments, daemon=True, name=f"seed {number}")
    os.environ.update(LIBRARIES)  # the libraries that the new process imports read them
    # SIGINT is blocked, so that Ctrl-C cannot end the process before it ignores SIGINT.
    resource_tracker.ensure_running()  # a tracker started below would inherit the blocked signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return Member(number, process, ours)


def _log(settings: Settings, number: int) -> Path:
    return settings.run_dir / f"seed-{number}.log"


def _receive(member: Member, settings: Settings, stop: life.Stop) -> None:
    try:
        kind, value = member.pipe.recv()
    except EOFError:
        if stop.requested:  # the signal went to the whole process group
            raise Interrupted from None
        member.process.join(_END_S)
        code, log = member.process.exitcode, _log(settings, member.seed)
        why = "out of memory?" if code == -signal.SIGKILL else f"see {log}"
        raise life.WorldDown(f"seed {member.seed}: its process ended with {code} ({why})") from None
    if kind == "failed":
        raise life.WorldDown(f"seed {member.seed}: {value}")
    if kind == "outcome":
        member.outcome, member.doing, member.share = value, "done", 1.0
        member.process.join(_END_S)
    else:
        member.doing, member.share = kind, value


def _work(pipe: Connection, settings: Settings, number: int, folder: Path, parent: int) -> None:
    """A seed's process. It ends with its parent, even if that is killed; only the parent handles Ctrl-C.

    Standard error goes to a file, because TensorFlow prints a screenful whatever its log level is.
    """
    with _log(settings, number).open("w") as file:
        os.dup2(file.fileno(), 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        return

    def report(*message: Any) -> None:
        with contextlib.suppress(BrokenPipeError):
            pipe.send(message)

    try:
        report("outcome", seed.run(settings, number, folder, report))
    except (ValueError, OSError, MemoryError) as error:
        report("failed", f"{type(error).__name__}: {error}")
