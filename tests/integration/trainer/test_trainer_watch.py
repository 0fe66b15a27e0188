"""`trainer watch` on a real cloud cluster: what it decides on which evidence, once, whenever it is killed."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from contract.manifest import Decision
from tests.integration.liveness import alive
from tests.integration.trainer.watched import CARS, SLEEPING, STUB, Watched

pytestmark = pytest.mark.integration
BEGINNING = [(1, "published"), (2, "on trial, share 0")]


@pytest.fixture
def watched(cloud: Any, remembering: Any, tmp_path: Path) -> Iterator[Watched]:
    found = Watched(cloud, remembering, tmp_path)
    yield found
    found.end()


def good_trial(watched: Watched, **champion: Any) -> None:
    """120 car-weeks of both models, the challenger as good as the champion."""
    watched.publish(share=0.0)
    for version in (1, 2):
        watched.count(version, openings=10, **(champion if version == 1 else {}))


def test_a_good_challenger_becomes_the_champion(watched: Watched) -> None:
    """With the evidence in the decision; what is seen before is said once, not at every look."""
    watched.publish(share=0.0)
    watched.count(1, judged=5_000)
    watched.count(2, judged=5_000, openings=2)
    watched.start()
    waits = watched.until_said("50 car-weeks judged, at least 100 are needed")
    assert waits["version"] == 2
    time.sleep(2)
    for version in (1, 2):
        watched.count(version, openings=8)
    watched.until(lambda: watched.decided() == [*BEGINNING, (2, "published")], "version 2 is promoted")
    champion = watched.publication.champion()
    assert champion is not None
    assert champion.manifest.decision.reasons[0] == "170 car-weeks judged"
    assert champion.manifest.metrics["trial"]["challenger"]["crossings"][5] == 10
    assert len([line for line in watched.said() if line["message"] == "trial"]) == 1 + 1
    watched.end()
    assert watched.said()[-1]["message"] == "stopped"


def test_a_bad_model_that_scores_all_cars_is_rolled_back(watched: Watched) -> None:
    """Share 1: the champion, which went on as the control, scores all cars again."""
    watched.publish(share=1.0)
    watched.count(1, judged=1_000)
    watched.count(2, judged=1_000, openings=12, share=1.0)
    watched.start()
    end = [(1, "published"), (2, "on trial, share 1"), (2, "withdrawn")]
    watched.until(lambda: watched.decided() == end, "version 2 is withdrawn")
    assert watched.publication.challenger() is None
    reasons = watched.publication.history()[-1].manifest.decision.reasons
    assert "12 alerts of version 2 that no report explains" in reasons[0]


def test_a_drift_holds_a_promotion_until_workshops_have_looked(watched: Watched) -> None:
    """Three inspections without a finding, and the table says before what is missing."""
    good_trial(watched)
    watched.count(1, ago_looks=4, moved=60)  # before the trial: why there is one
    for number in range(5):
        watched.alert(1, f"car-{number}")
    watched.start()
    watched.until_said("an epidemic of one bad part looks the same")
    command = [word for word in watched.command() if word != "watch"]
    at = command.index("trainer") + 1
    flags = command[at:]
    shown = subprocess.run(
        [*command[:at], "trial", *flags], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert "0 of 5 cars with an alert were looked at" in shown
    for number in range(3):
        assert watched.decided() == BEGINNING
        watched.report(f"car-{number}", inspected=True)
    watched.until(lambda: watched.decided() == [*BEGINNING, (2, "published")], "version 2 is promoted")


def test_failures_that_the_challenger_misses_keep_it_from_promotion(watched: Watched) -> None:
    """The champion has foreseen two of two, the challenger one of them: it waits."""
    good_trial(watched)
    time.sleep(0.2)  # from then on both judge all cars
    for car in ("a", "b"):
        watched.alert(1, car)
    watched.alert(2, "a")
    time.sleep(0.05)
    for car in ("a", "b"):
        watched.report(car)
    watched.start()
    watched.until_said("of 2 failures that the champion foresaw it foresaw 1")
    assert watched.decided() == BEGINNING


def test_killed_at_any_moment_each_decision_is_taken_once(watched: Watched) -> None:
    """SIGKILL again and again, before, within and after the transaction; the last one ends what is left."""
    good_trial(watched)
    chance, end = random.Random(1), [*BEGINNING, (2, "published")]
    for _ in range(5):
        process = watched.start()
        time.sleep(chance.uniform(0.3, 3.0))
        process.kill()
        process.wait()
    watched.start()
    watched.until(lambda: watched.decided() == end, "version 2 is promoted")
    time.sleep(2)
    assert watched.decided() == end


@pytest.mark.measuring  # long, and others prove most of it: in make test-all
def test_two_watchers_take_one_decision(watched: Watched) -> None:
    """Whoever comes second finds that it was taken."""
    good_trial(watched)
    watched.start()
    watched.start()
    end = [*BEGINNING, (2, "published")]
    watched.until(lambda: watched.decided() == end, "version 2 is promoted")
    time.sleep(2)
    assert watched.decided() == end
    watched.processes = [
        process for process in watched.processes if process.poll() is None
    ]  # fenced off: exit 1


# The watcher with another command in the trainer's place; everything else is as in production.
WITH_STUB = f"""
import sys
from trainer.watch import command, training
stub = sys.argv.pop(1)
training.command = lambda settings, added, since: [sys.executable, "-c", {STUB!r}, stub, *added, since]
command.watch(sys.argv[1:])
"""


def test_a_lasting_drift_starts_one_training(watched: Watched) -> None:
    """After three looks, not while records are broken, and not again within the cool-down."""
    watched.publish(share=None)
    started = watched.folder / "started"
    flags = watched.command("--train-with", "process", "--cool-down-s", "5", "--", "--seed", "7")
    python = [sys.executable, "-c", WITH_STUB, str(started), *flags[flags.index("watch") + 1 :]]
    watched.start(argv=python)
    published_s = time.time()
    for _ in range(4):
        watched.count(1, moved=60, broken=1_000)
        time.sleep(0.6)
    watched.until_said("too many records are broken")
    assert not started.exists()
    time.sleep(max(0.0, published_s + 5 - time.time()))  # the champion's publication was a decision
    began_s = time.time()
    for _ in range(3):
        watched.count(1, moved=60)
        time.sleep(0.6)
    watched.until(started.exists, "a training is started")
    seed, since = started.read_text().strip().rsplit(" ", 1)
    assert seed == "--seed 7"
    assert -10 < datetime.fromisoformat(since).timestamp() - began_s < 2
    refused = watched.manifest(2, decision=Decision(published=False, reasons=("worse",)))
    publication = watched.publication
    publication.open()
    publication.write(refused, watched.detector.tflite)
    for _ in range(6):
        watched.count(1, moved=60)
        time.sleep(0.5)
    watched.until_said("a decision was taken lately")
    assert started.read_text().count("\n") == 1
    assert CARS == 100  # of which 60 have moved


def test_a_killed_watcher_leaves_no_training_behind(watched: Watched) -> None:
    """The kernel kills the child with it; a stop ends the child, too."""
    watched.publish(share=None)
    started = watched.folder / "started"
    sleeping = WITH_STUB.replace(repr(STUB), repr(SLEEPING))
    flags = watched.command("--train-with", "process", "--cool-down-s", "0")
    python = [sys.executable, "-c", sleeping, str(started), *flags[flags.index("watch") + 1 :]]
    for stop in (subprocess.Popen.kill, subprocess.Popen.terminate):
        process = watched.start(argv=python)
        for _ in range(8):
            watched.count(1, moved=60)
            time.sleep(0.6)
            if started.exists():
                break
        pid = int(watched.until(lambda: started.exists() and started.read_text(), "a training is started"))
        assert alive(pid)
        stop(process)
        process.wait(30)
        watched.until(lambda pid=pid: not alive(pid), "the training has ended", 5)
        started.unlink()
