"""Children that get ready, die, come back and end, with processes small enough for unit tests."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local import supervisor as module
from local.supervisor import Child, Supervisor
from plumbing.life import WorldDown
from tests.integration.liveness import alive

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
FOREVER = ["sleep", "60"]


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setattr(module, "_BACKOFF_S_MIN", 0.02)
    supervisor = Supervisor(tmp_path / "logs")
    yield supervisor
    supervisor.stop_all()


def until(condition: Callable[[], object], supervisor: Supervisor | None = None) -> None:
    """Look again and again, at most 5 s."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        if supervisor is not None:
            supervisor.tick()
        time.sleep(0.01)


def test_a_child_is_ready_when_it_says_so(supervisor: Supervisor, tmp_path: Path):
    """Running is not enough."""
    sign = tmp_path / "ready"
    child = supervisor.start(Child("one", FOREVER, sign.exists))
    supervisor.tick()
    assert child.state == "starting"
    sign.touch()
    supervisor.wait_ready(["one"], 5)
    assert child.state == "ready"


def test_what_is_not_ready_in_time_is_said_with_its_log(supervisor: Supervisor):
    """The last lines usually say why."""
    supervisor.start(Child("one", ["sh", "-c", "echo waiting for the moon; sleep 60"], lambda: False))
    with pytest.raises(WorldDown, match=r"one is not ready after 0 s.*\nwaiting for the moon"):
        supervisor.wait_ready(["one"], 0.2)


def test_what_ends_at_once_is_said_with_its_log(supervisor: Supervisor):
    """A missing program too: setpriv says that it is not there."""
    supervisor.start(Child("one", ["no-such-program"], lambda: False))
    with pytest.raises(WorldDown, match=r"one ended(.|\n)*no-such-program"):
        supervisor.wait_ready(["one"], 5)


def test_a_killed_child_comes_back(supervisor: Supervisor):
    """As another process, counted and shown."""
    child = supervisor.start(Child("one", FOREVER))
    first = child.pid
    supervisor.kill("one")
    until(lambda: child.state == "ready" and child.pid != first, supervisor)
    assert child.restarts == supervisor.restarts == 1
    assert "one ended with signal 9; restarted in" in supervisor.events[-1]


def test_a_child_that_is_stuck_is_killed_and_comes_back(supervisor: Supervisor):
    """Running is not working: what says that it will not work again gets a new process."""
    stuck = [True]
    child = supervisor.start(Child("one", FOREVER, stuck=lambda: stuck.pop() if stuck else False))
    first = child.pid
    until(lambda: child.state == "ready" and child.pid != first, supervisor)
    assert "one runs but no longer works: killed" in supervisor.events
    assert child.restarts == 1


def test_a_job_is_run_whenever_a_child_works_again(supervisor: Supervisor, tmp_path: Path):
    """After a kill and after a pause, not at the first start; what it prints becomes events."""
    works, job = [True], Child("mend", ["echo", "mended"], restart=False, tells=True)
    child = supervisor.start(Child("one", FOREVER, lambda: works[0], on_return=job))
    supervisor.wait_ready(["one"], 5)
    assert "mend" not in supervisor.children
    supervisor.kill("one")
    until(lambda: "mend: mended" in supervisor.events, supervisor)
    works[0] = False
    until(lambda: child.state == "starting", supervisor)
    works[0] = True
    until(lambda: supervisor.events.count("mend: mended") == 2, supervisor)


def test_the_pause_before_a_restart_grows(supervisor: Supervisor):
    """A child that cannot live takes less and less of the machine."""
    child = supervisor.start(Child("one", ["false"]))
    until(lambda: child.restarts == 3, supervisor)
    pauses = [float(event.split()[-2]) for event in supervisor.events]
    assert pauses == sorted(pauses)
    assert pauses[2] > pauses[0]


def test_a_child_is_not_started_again_while_it_may_not(supervisor: Supervisor):
    """Kafka on a full disk, for instance; as soon as it may, it is."""
    allowed: list[bool] = []
    child = supervisor.start(Child("one", ["false"], may_start=lambda: bool(allowed)))
    until(lambda: child.state == "waiting" and time.monotonic() > child.retry_at + 0.1, supervisor)
    assert child.restarts == 0
    allowed.append(True)
    until(lambda: child.restarts == 1, supervisor)


def test_a_job_keeps_its_exit_status(supervisor: Supervisor):
    """It is not started again, whatever it was."""
    child = supervisor.start(Child("one", ["sh", "-c", "exit 3"], restart=False))
    until(lambda: child.state == "ended", supervisor)
    supervisor.tick()
    assert (child.status, child.restarts) == (3, 0)


def test_a_stopped_child_stays_stopped(supervisor: Supervisor):
    """Also one that waits for its restart."""
    child = supervisor.start(Child("one", ["false"]))
    until(lambda: child.state == "waiting", supervisor)
    supervisor.stop("one")
    time.sleep(0.1)
    supervisor.tick()
    assert child.state == "ended"
    assert child.process is None


def test_the_last_started_ends_first(supervisor: Supervisor, tmp_path: Path):
    """Who depends on another ends before it."""
    order = tmp_path / "order"
    script = "trap 'echo $0 >>%s; exit' TERM; echo up; while :; do sleep 0.01; done" % order  # noqa: UP031
    for name in ("broker", "bridge"):
        supervisor.start(Child(name, ["sh", "-c", script, name]))
        until(lambda name=name: supervisor.last_lines(name) == "up")  # type: ignore[misc]
    supervisor.stop_all()
    assert order.read_text().split() == ["bridge", "broker"]


def test_a_child_that_does_not_end_is_killed_with_its_own_children(supervisor: Supervisor):
    """After its deadline, and said."""
    script = "trap '' TERM; sleep 60 & echo $!; wait; sleep 60"
    child = supervisor.start(Child("one", ["sh", "-c", script], stop_within_s=0.2))
    until(lambda: supervisor.last_lines("one"))
    worker = int(supervisor.last_lines("one"))
    supervisor.stop("one")
    assert child.status == -signal.SIGKILL
    until(lambda: not alive(worker))
    assert "was killed" in supervisor.events[-1]


def test_ctrl_c_reaches_only_the_supervisor(supervisor: Supervisor):
    """A terminal signals its foreground process group; children lead their own, and end in order."""
    child = supervisor.start(Child("one", FOREVER))
    assert child.pid is not None
    until(lambda: alive(child.pid or 0) and os.getpgid(child.pid or 0) == child.pid)
    assert os.getpgid(child.pid) != os.getpgid(0)


def test_a_killed_supervisor_leaves_no_child(tmp_path: Path):
    """The kernel ends the children of a supervisor that had no time to."""
    script = (
        "import sys, time; from pathlib import Path; from local.supervisor import Child, Supervisor; "
        "s = Supervisor(Path(sys.argv[1])); print(s.start(Child('one', ['sleep', '60'])).pid, flush=True); "
        "time.sleep(60)"
    )
    argv = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        child = int(owner.stdout.readline())
        until(lambda: Path(f"/proc/{child}/comm").read_text() == "sleep\n")
        owner.kill()
        owner.wait()
    until(lambda: not alive(child))
