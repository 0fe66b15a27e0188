"""The processes of the seeds, a few at a time, and their progress; all of them end with this process."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from plumbing import life
from quality import seed
from quality.seed import Outcome
from quality.settings import Settings

_LOOK_S = 0.25
_END_S = 5.0
_PR_SET_PDEATHSIG = 1
# One thread each: several processes with several threads would only wait for each other.
_LIBRARIES = {
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


class Crew:
    """Runs the seeds. Use it as a context manager: leaving it ends the processes that still run."""

    def __init__(self, settings: Settings, data: Path, stop: life.Stop) -> None:
        self._settings, self._data, self._stop = settings, data, stop
        self._context = multiprocessing.get_context("spawn")
        self._waiting = list(range(settings.first_seed, settings.first_seed + settings.seeds))
        self.members: list[Member] = []

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            if member.process.is_alive():
                member.process.terminate()
        for member in self.members:
            member.process.join(_END_S)
            if member.process.is_alive():
                member.process.kill()
                member.process.join()

    def run(self, show: Callable[[list[Member]], None]) -> list[Outcome]:
        """The outcomes in the order of the seeds. `show` is called several times a second.

        Raises Interrupted when asked to stop, WorldDown when a process failed.
        """
        while self._waiting or any(member.outcome is None for member in self.members):
            if self._stop.requested:
                raise Interrupted
            busy = [member for member in self.members if member.outcome is None]
            if self._waiting and len(busy) < self._settings.processes:
                self.members.append(self._started(self._waiting.pop(0)))
                continue
            for pipe in wait([member.pipe for member in busy], _LOOK_S):
                self._receive(next(member for member in busy if member.pipe is pipe))
            show(self.members)
        return [member.outcome for member in self.members if member.outcome is not None]

    def _started(self, number: int) -> Member:
        ours, theirs = self._context.Pipe()
        paths = (self._data / f"seed-{number}", self._log(number))
        arguments = (theirs, self._settings, number, paths, os.getpid())
        process = self._context.Process(target=_work, args=arguments, daemon=True, name=f"seed {number}")
        os.environ.update(_LIBRARIES)  # the libraries that the new process imports read them
        with _ctrl_c_waits():
            process.start()
        theirs.close()
        return Member(number, process, ours)

    def _log(self, number: int) -> Path:
        return self._settings.run_dir / f"seed-{number}.log"

    def _receive(self, member: Member) -> None:
        try:
            kind, value = member.pipe.recv()
        except EOFError:
            if self._stop.requested:  # the signal went to the whole process group
                raise Interrupted from None
            member.process.join(_END_S)
            code = member.process.exitcode
            why = "out of memory?" if code == -signal.SIGKILL else f"see {self._log(member.seed)}"
            raise life.WorldDown(f"seed {member.seed}: its process ended with {code} ({why})") from None
        if kind == "failed":
            raise life.WorldDown(f"seed {member.seed}: {value}")
        if kind == "outcome":
            member.outcome, member.doing, member.share = value, "done", 1.0
            member.process.join(_END_S)
        else:
            member.doing, member.share = kind, value


@contextlib.contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """Block SIGINT while a process starts, so that Ctrl-C cannot end it before it ignores SIGINT."""
    resource_tracker.ensure_running()  # a tracker started in here would inherit the blocked signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection, settings: Settings, number: int, paths: tuple[Path, Path], parent: int) -> None:
    """A seed's process. It ends with its parent, even if that is killed; only the parent handles Ctrl-C.

    Standard error goes to a file, because TensorFlow prints a screenful whatever its log level is.
    """
    folder, log = paths
    with log.open("w") as file:
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
