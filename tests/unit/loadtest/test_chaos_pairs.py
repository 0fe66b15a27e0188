"""Faults in pairs: what is drawn, and how two faults take turns."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loadtest.chaos.faults import FAULTS
from loadtest.chaos.pairs import PAIRED, Injection, alone, draw
from loadtest.chaos.scene import Scene
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
        scene.wait(0.2)
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
