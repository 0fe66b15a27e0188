"""Virtual time, and processes that take turns: each call of a client may let others run, or be the last one.

A process is a greenlet: a stack of its own, left in the middle of a call and entered again later. So the
services' own loops run here unchanged, thousands of times faster than the clock on the wall, and in an order
that the seed alone decides.
"""

import heapq
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from greenlet import getcurrent, greenlet

from plumbing.life import WorldDown

EPOCH_S = 1_800_000_000
_PACKAGES = ("bridge", "scorer", "plumbing", "contract")
_SWITCH_S_MAX = 0.002  # until a process that was woken runs
# A process that calls so often without waiting for anything has spent a millisecond.
_CALLS_A_MS = 1_000


class Killed(BaseException):
    """SIGKILL: no code of the process runs after this."""


class Clock:
    """Stands for the module `time` in the services."""

    def __init__(self, schedule: "Schedule") -> None:
        self._schedule = schedule

    def monotonic(self) -> float:
        return self._schedule.now

    perf_counter = monotonic

    def time(self) -> float:
        return EPOCH_S + self._schedule.now

    def time_ns(self) -> int:
        return int(self.time() * 1_000) * 1_000_000

    def sleep(self, seconds: float) -> None:
        self._schedule.current.wait(seconds)


class Schedule:
    """What happens next, in virtual seconds since the beginning of the world."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.waiting: dict[Process, Callable[[], Any]] = {}
        self._events: list[tuple[float, int, Callable[[], None], bool]] = []
        self._count = 0

    @property
    def current(self) -> "Process":
        """The process that runs now."""
        process = getcurrent()
        assert isinstance(process, Process)
        return process

    def after(self, seconds: float, action: Callable[[], None], *, of_process: bool = False) -> None:
        """Do this later. What a process does reaches the others as events, which are not `of_process`."""
        self._count += 1  # tells apart what happens at the same time
        heapq.heappush(self._events, (self.now + seconds, self._count, action, of_process))

    def run(self, until_s: float) -> None:
        """Let everything happen that is due until then."""
        while self._events and self._events[0][0] <= until_s:
            self.now, _, action, of_process = heapq.heappop(self._events)
            action()
            if not of_process:
                for process in [each for each, ready in self.waiting.items() if ready()]:
                    process.wake()
        self.now = until_s

    @contextmanager
    def in_services(self, **stand_ins: Any) -> Iterator[None]:
        """Replace `time` and `random` in the services' modules; and `module__name` by what is given."""
        chance = random.Random(self.random.random())
        changed: list[tuple[Any, str, Any]] = []
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] in _PACKAGES:
                for attribute, real, fake in (("time", time, Clock(self)), ("random", random, chance)):
                    if getattr(module, attribute, None) is real:
                        changed.append((module, attribute, fake))
        for place, fake in stand_ins.items():
            module_name, _, attribute = place.rpartition("__")
            changed.append((sys.modules[module_name.replace("__", ".")], attribute, fake))
        before = [getattr(module, attribute) for module, attribute, _ in changed]
        for module, attribute, fake in changed:
            setattr(module, attribute, fake)
        try:
            yield
        finally:
            for (module, attribute, _), real in zip(changed, before, strict=True):
                setattr(module, attribute, real)


class Process(greenlet):
    """A process. `ended` is called with what ended it: None (by itself), an exception, or Killed."""

    def __init__(
        self,
        schedule: Schedule,
        name: str,
        work: Callable[[], None],
        ended: Callable[["Process", BaseException | None], None],
    ) -> None:
        super().__init__(self._main)
        self.name, self._schedule, self._work, self._ended = name, schedule, work, ended
        self.died_at: float | None = None
        self.paused_at_s = self.paused_until_s = 0.0
        self.calls_left: int | None = None  # until it is killed; None: it is not
        self.calls_left_in_take_over: int | None = None  # likewise, from its next take-over on
        self.at_death: list[Callable[[], None]] = []  # what its sockets and clients leave behind
        self._turn = self._calls = 0
        self.wake()

    def call(self) -> None:
        """A call of a client begins: a kill may hit the process here."""
        self._calls += 1
        if self._calls > _CALLS_A_MS:
            self.wait(0.001)
        if self.calls_left is not None:
            self.calls_left -= 1
            if self.calls_left < 0:
                raise Killed(self.name)

    def wait(self, seconds: float, ready: Callable[[], Any] | None = None) -> None:
        """Let others run until something is ready, at most so long."""
        if ready is not None:
            if ready():
                return
            self._schedule.waiting[self] = ready
        self._calls = 0
        self._wake_after(seconds)
        self.parent.switch()
        self.call()

    def wake(self) -> None:
        """Let it run in a moment, whatever it waits for."""
        self._schedule.waiting.pop(self, None)
        self._wake_after(self._schedule.random.uniform(0, _SWITCH_S_MAX))

    def kill(self) -> None:
        """SIGKILL from outside."""
        if self.died_at is None:
            if self:  # it has begun
                self.throw(Killed, self.name)
            else:
                self._bury(Killed(self.name))

    def pause(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later."""
        self.paused_at_s, self.paused_until_s = self._schedule.now, self._schedule.now + seconds

    @property
    def silent_since_s(self) -> float:
        """Since when it was killed or stands still; infinity: it does neither."""
        if self.died_at is not None:
            return self.died_at
        return self.paused_at_s if self._schedule.now < self.paused_until_s else float("inf")

    def _wake_after(self, seconds: float) -> None:
        self._turn += 1
        turn = self._turn
        self._schedule.after(seconds, lambda: self._resume(turn), of_process=True)

    def _resume(self, turn: int) -> None:
        if turn == self._turn and self.died_at is None:
            if (left_s := self.paused_until_s - self._schedule.now) > 0:
                self._wake_after(left_s)
                return
            self._schedule.waiting.pop(self, None)
            self.switch()

    def _main(self) -> None:
        why: BaseException | None = None
        try:
            self._work()
        except (Killed, WorldDown) as error:
            why = error
        self._bury(why)

    def _bury(self, why: BaseException | None) -> None:
        self.died_at = self._schedule.now
        self._schedule.waiting.pop(self, None)
        for leave in self.at_death:
            leave()
        self._ended(self, why)
