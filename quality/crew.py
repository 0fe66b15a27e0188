"""The seeds as processes, a few at a time, with what each is doing; all of them end when this one does."""

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
# Several processes with several threads each would only wait for each other.
_LIBRARIES = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    **dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"),
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "CUDA_VISIBLE_DEVICES": "-1",  # a seed is too small to gain from a GPU, and the seeds would share it
}


@dataclass
class Member:
    """One seed's process, and the last that was heard of it."""

    seed: int
    process: BaseProcess
    pipe: Connection
    started: float = field(default_factory=time.monotonic)
    doing: str = "starting"
    share: float = 0.0
    outcome: Outcome | None = None


class Interrupted(Exception):
    """The run was asked to end."""


class Crew:
    """Runs the seeds; use as a context: leaving it ends what still runs."""

    def __init__(self, told: Settings, data: Path, stop: life.Stop) -> None:
        self._told, self._data, self._stop = told, data, stop
        self._context = multiprocessing.get_context("spawn")
        self._waiting = list(range(told.first_seed, told.first_seed + told.seeds))
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
        """The outcomes by seed. `show` is called several times a second.

        Raises Interrupted when asked to end, WorldDown where a process failed.
        """
        while self._waiting or any(member.outcome is None for member in self.members):
            if self._stop.requested:
                raise Interrupted
            busy = [member for member in self.members if member.outcome is None]
            if self._waiting and len(busy) < self._told.processes:
                self.members.append(self._started(self._waiting.pop(0)))
                continue
            for pipe in wait([member.pipe for member in busy], _LOOK_S):
                self._hear(next(member for member in busy if member.pipe is pipe))
            show(self.members)
        return [member.outcome for member in self.members if member.outcome is not None]

    def _started(self, number: int) -> Member:
        ours, theirs = self._context.Pipe()
        paths = (self._data / f"seed-{number}", self._log(number))
        arguments = (theirs, self._told, number, paths, os.getpid())
        process = self._context.Process(target=_work, args=arguments, daemon=True, name=f"seed {number}")
        os.environ.update(_LIBRARIES)  # read by the libraries that the new process will import
        with _ctrl_c_waits():
            process.start()
        theirs.close()
        return Member(number, process, ours)

    def _log(self, number: int) -> Path:
        return self._told.run_dir / f"seed-{number}.log"

    def _hear(self, member: Member) -> None:
        try:
            what, value = member.pipe.recv()
        except EOFError:
            if self._stop.requested:  # a signal to all of us
                raise Interrupted from None
            member.process.join(_END_S)
            code = member.process.exitcode
            why = "out of memory?" if code == -signal.SIGKILL else f"see {self._log(member.seed)}"
            raise life.WorldDown(f"seed {member.seed}: its process ended with {code} ({why})") from None
        if what == "failed":
            raise life.WorldDown(f"seed {member.seed}: {value}")
        if what == "outcome":
            member.outcome, member.doing, member.share = value, "done", 1.0
            member.process.join(_END_S)
        else:
            member.doing, member.share = what, value


@contextlib.contextmanager
def _ctrl_c_waits() -> Iterator[None]:
    """A process that is started within does not hear Ctrl-C before it can say that it will not listen."""
    resource_tracker.ensure_running()  # else it is started within, and lets Ctrl-C through afterwards
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection, told: Settings, number: int, paths: tuple[Path, Path], parent: int) -> None:
    """A seed's process: ends with the parent, also with a killed one; Ctrl-C is the parent's to hear.

    What libraries say on standard error (TensorFlow: a screenful, whatever it is told) goes to a file.
    """
    folder, log = paths
    with log.open("w") as file:
        os.dup2(file.fileno(), 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        return

    def tell(*heard: Any) -> None:
        with contextlib.suppress(BrokenPipeError):
            pipe.send(heard)

    try:
        tell("outcome", seed.run(told, number, folder, tell))
    except (ValueError, OSError, MemoryError) as error:
        tell("failed", f"{type(error).__name__}: {error}")
