"""Faults in pairs: what is drawn, how two faults take turns, and what the faults use."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loadtest.chaos import releases
from loadtest.chaos.faults import FAULTS
from loadtest.chaos.pairs import PAIRED, Injection, alone, draw
from loadtest.chaos.scene import Scene, Skipped
from loadtest.chaos.settings import Settings
from loadtest.chaos.small_fleet import WRONG_CLOCK
from plumbing.life import Stop, WorldDown


@pytest.fixture
def scene(tmp_path: Path, detector: Any) -> Scene:
    """A scene without a deployment."""
    model = tmp_path / "champion.record"
    model.write_bytes(detector.record())
    deployment: Any = SimpleNamespace(supervisor=SimpleNamespace(tick=lambda: None))
    return Scene(deployment, "no volume", Stop(), lambda: None, model=model)


def test_a_seed_draws_the_same_pairs_and_another_seed_others():
    """So that a run that failed can be repeated."""
    assert draw(20, 7) == draw(20, 7) != draw(20, 8)


def test_no_fault_is_drawn_again_before_all_others_were():
    """Twenty pairs show every fault at least once, and none is a pair with itself."""
    for seed in range(50):
        pairs = draw(20, seed)
        drawn = [name for pair in pairs for name in pair.faults]
        assert all(first != second for first, second in (pair.faults for pair in pairs))
        assert set(drawn) == PAIRED.keys() - {"poison-flood", "trainer-kill"}
        assert all(0 <= pair.after_s <= 15 for pair in pairs)


def test_pairs_can_be_of_some_faults_only():
    """`--faults` with `--pairs`; a pair needs two that differ."""
    drawn = {name for pair in draw(9, 5, ("edge-kill", "clocks-ahead", "mqtt-kill")) for name in pair.faults}
    assert drawn == {"edge-kill", "clocks-ahead", "mqtt-kill"}
    with pytest.raises(ValueError, match="two different faults"):
        Settings(pairs=1, faults=("clocks-ahead",))
    with pytest.raises(ValueError, match="poison-flood: none of"):
        Settings(pairs=1, faults=("clocks-ahead", "poison-flood"))
    with pytest.raises(ValueError, match="clocks-ahead: none of"):
        Settings(faults=("clocks-ahead",))


def test_a_hundredth_of_the_cars_has_a_clock_of_its_own():
    """Only in pairs; together they are as many as was asked for."""
    settings = Settings(pairs=1, cars=800)
    assert (settings.small_fleet, settings.plan.cars) == (8, 792)
    assert (Settings(cars=800).small_fleet, Settings(cars=800).plan.cars) == (0, 800)


def test_a_process_and_those_that_it_starts_see_the_wrong_clock(tmp_path: Path):
    """From the next look on, ahead and behind."""
    file = tmp_path / "clock"
    file.write_text("3600")
    look = "import time; print(time.time_ns() // 10**9, int(time.time()))"
    argv = [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {look!r}])"]
    more = {"PYTHONPATH": str(WRONG_CLOCK), "WRONG_CLOCK": str(file)}
    done = subprocess.run(argv, env=os.environ | more, capture_output=True, text=True, check=True)
    assert [float(each) - time.time() for each in done.stdout.split()] == pytest.approx([3600] * 2, abs=30)


def test_a_part_stays_away_until_its_fault_is_over(scene: Scene):
    """Also where another fault has killed it before, or kills it meanwhile."""
    child: Any = SimpleNamespace(pid=1, state="ready", may_start=lambda: True, retry_at=5.0)
    killed: list[str] = []
    scene.deployment.supervisor.children = {"scorer-0": child}
    scene.deployment.supervisor.kill = killed.append
    with scene.away("scorer-0"):
        assert killed == ["scorer-0"]
        assert not child.may_start()
        child.pid = 2
    assert child.may_start()
    assert child.retry_at == 0


CHANGELOG = """# Changelog

## Unreleased

## 0.2.0 (2026-11-30)

## 0.1.0 (never tagged)
"""


def test_the_release_before_is_the_second_heading():
    """The first one is of the code as it is, released or not."""
    assert releases.former(CHANGELOG) == "0.2.0"
    assert releases.former(CHANGELOG.replace("## Unreleased\n", "")) == "0.1.0"


def test_without_a_release_before_its_fault_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It says why: a clone without history, a copy without git."""
    with pytest.raises(Skipped, match="no release before"):
        releases.former("# Changelog\n\n## Unreleased\n")
    monkeypatch.setattr(releases, "ROOT", tmp_path)
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(Skipped, match="git log does not work here: fatal: not a git repository"):
        releases.unpacked(tmp_path / "before")
    for command in (
        ["init", "-q"],
        ["-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    with pytest.raises(Skipped, match=r"history of this clone does not have release 0\.2\.0"):
        releases.unpacked(tmp_path / "before")


def test_a_single_fault_is_an_injection_with_one():
    """As without --pairs; its name stands in the ledger."""
    assert [str(injection) for injection in alone(["edge-kill"])] == ["edge-kill"]
    assert str(Injection(("edge-kill", "mqtt-kill"), 3.21)) == "edge-kill + 3.2 s mqtt-kill"


def test_the_second_fault_begins_while_the_first_is_at_work(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    """They take turns where they wait; the injection ends when both have ended."""
    course: list[str] = []

    def first(scene: Scene) -> None:
        course.append("first begins")
        scene.until(lambda: "second begins" in course, "the second one began", 10)
        course.append("first ends")

    def second(scene: Scene) -> None:
        course.append("second begins")
        scene.until(lambda: "first ends" in course, "the first one ended", 10)
        scene.wait(0.1)
        course.append("second ends")

    monkeypatch.setitem(PAIRED, "first", first)
    monkeypatch.setitem(PAIRED, "second", second)
    began = time.monotonic()
    Injection(("first", "second"), 0.1).inject(scene)
    assert course == ["first begins", "second begins", "first ends", "second ends"]
    assert time.monotonic() - began >= 0.1


def test_the_second_fault_goes_on_where_every_look_takes_long(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    """A stopped Kafka makes each look at the deployment longer than the wait; then nothing went on."""
    monkeypatch.setattr(scene.deployment.supervisor, "tick", lambda: time.sleep(0.06))
    monkeypatch.setitem(PAIRED, "first", lambda scene: None)
    monkeypatch.setitem(PAIRED, "second", lambda scene: scene.wait(0.1))
    Injection(("first", "second"), 0.1).inject(scene)


def test_a_fault_that_fails_is_raised_after_the_other_has_ended(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
):
    """Nothing of a pair is at work when the next one begins."""
    ended: list[str] = []

    def fails(scene: Scene) -> None:
        raise WorldDown("as it should")

    def waits(scene: Scene) -> None:
        scene.wait(0.05)
        ended.append("waits")

    monkeypatch.setitem(PAIRED, "fails", fails)
    monkeypatch.setitem(PAIRED, "waits", waits)
    for faults in (("fails", "waits"), ("waits", "fails")):
        with pytest.raises(WorldDown, match="as it should"):
            Injection(faults).inject(scene)
    assert ended == ["waits", "waits"]


def test_every_fault_says_what_it_does():
    """`--list` shows the docstrings."""
    assert FAULTS.keys() < PAIRED.keys()
    assert all(inject.__doc__ for inject in PAIRED.values())
