"""Signals, the deadline, exit codes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plumbing import life
from plumbing.settings import SettingsError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def stop() -> Iterator[life.Stop]:
    """A Stop that handles the signals; the earlier handlers are put back afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield life.Stop(deadline_s=20).install()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_for_the_end(stop: life.Stop, number: signal.Signals):
    """The process goes on; the stop is requested and has the whole deadline left."""
    assert not stop.requested
    assert stop.left_s == 20
    os.kill(os.getpid(), number)
    assert stop.requested
    assert 19 < stop.left_s <= 20


def test_a_second_signal_ends_at_once(stop: life.Stop):
    """Ctrl-C pressed twice: exit code 128 + the signal."""
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(SystemExit) as end:
        os.kill(os.getpid(), signal.SIGINT)
    assert end.value.code == 130


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_start_at_once(stop: life.Stop, number: signal.Signals):
    """SystemExit with the status 0 until the work has started: nothing has to be ended in order."""
    stop.starting = True
    with pytest.raises(SystemExit) as end:
        os.kill(os.getpid(), number)
    assert end.value.code == 0


def test_a_start_that_is_over_ends_in_order(stop: life.Stop):
    """After `started` a signal only asks for the end."""
    stop.starting = True
    stop.started()
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.requested


_BLOCKED = """
import ctypes
from plumbing import life
life._BLOCKED_S_MAX = 0.1
stop = life.Stop().install(starting=True, status=7)
print("starting", flush=True)
lock = ctypes.create_string_buffer(64)
libc = ctypes.CDLL(None)
libc.pthread_mutex_init(lock, None)
libc.pthread_mutex_lock(lock)
libc.pthread_mutex_lock(lock)  # for ever, and no signal handler of Python runs
"""


def test_a_start_that_a_library_blocks_ends_too():
    """A call that runs no signal handlers of Python does not keep the process."""
    with subprocess.Popen([sys.executable, "-c", _BLOCKED], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 7
        assert time.monotonic() - began < 3


def test_one_deadline_counts_down_and_is_never_negative(monkeypatch: pytest.MonkeyPatch):
    """The deadline counts from the first request; a second does not prolong it."""
    clock = [100.0]
    monkeypatch.setattr(life.time, "monotonic", lambda: clock[0])
    stop = life.Stop(deadline_s=5)
    stop.request()
    clock[0] = 103.0
    stop.request()
    assert stop.left_s == 2
    clock[0] = 200.0
    assert stop.left_s == 0


def _raise(error: Exception) -> Callable[[], None]:
    def run() -> None:
        raise error

    return run


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (lambda: None, None),
        (lambda: 3, 3),
        (_raise(SettingsError("--crew: 'many' is not a whole number")), 2),
        (_raise(life.WorldDown("no Kafka broker answered")), 1),
    ],
)
def test_exit_codes(run: Callable[[], int | None], code: int | None):
    """Done: what `run` returns, and 0 for None. Bad settings: 2. WorldDown: 1."""
    with pytest.raises(SystemExit) as end:
        life.main(run)
    assert end.value.code == code


def test_bad_settings_are_one_line_on_stderr(capsys: pytest.CaptureFixture[str]):
    """No traceback for an error that the user can correct."""
    with pytest.raises(SystemExit):
        life.main(_raise(SettingsError("--crew: 'many' is not a whole number")))
    assert capsys.readouterr().err == "settings: --crew: 'many' is not a whole number\n"


def test_a_bug_shows_its_traceback():
    """Any other exception is not caught."""
    with pytest.raises(ZeroDivisionError):
        life.main(_raise(ZeroDivisionError()))
