"""Replication by MirrorMaker 2: nothing missing, nothing doubled, in order."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.topics import EVIDENCE, MODELS, TELEMETRY, mirrored
from local.ports import is_ready
from plumbing import web
from tests.integration.ports import free_port

pytestmark = pytest.mark.integration

UP, DOWN = mirrored("edge", TELEMETRY), mirrored("cloud", MODELS)
FIRST_WITHIN_S = 60.0
BACK_WITHIN_S = 90.0
LOOK_EVERY_S, LOOK_TAKES_S = 0.5, 5.0  # a look takes 0.1 s on an idle machine


def numbers(count: int) -> list[bytes]:
    return [b"%06d" % number for number in range(count)]


def test_a_record_goes_up_and_a_model_goes_down(mirror: Any, key: Callable[[str], str]):
    """One process serves both directions."""
    mirror.write(mirror.edge, TELEMETRY, key("car"), [b"record"])
    mirror.write(mirror.cloud, MODELS, key("model"), [b"model"])
    assert mirror.read_until(mirror.cloud, UP, key("car"), b"record", FIRST_WITHIN_S) == [b"record"]
    assert mirror.read_until(mirror.edge, DOWN, key("model"), b"model", FIRST_WITHIN_S) == [b"model"]


def test_a_published_model_is_at_the_edge_at_once(mirror: Any, key: Callable[[str], str]):
    """Well under the 5 s that a new model may take to its first batch."""
    mirror.write(mirror.cloud, MODELS, key("first"), [b"warm"])
    mirror.read_until(mirror.edge, DOWN, key("first"), b"warm", FIRST_WITHIN_S)
    published = time.monotonic()
    mirror.write(mirror.cloud, MODELS, key("second"), [b"model"])
    mirror.read_until(mirror.edge, DOWN, key("second"), b"model", 10)
    assert time.monotonic() - published < 2 + 1  # the reader waits another second for doubles


def test_a_killed_mirrormaker_doubles_and_loses_nothing(mirror: Any, key: Callable[[str], str]):
    """Killed in the middle of copying and started again: every copy and its offset were one transaction."""
    everything = numbers(60_000)
    mirror.write(mirror.edge, TELEMETRY, key("car"), everything[:20_000])
    mirror.read_until(mirror.cloud, UP, key("car"), everything[0], FIRST_WITHIN_S)
    mirror.write(mirror.edge, TELEMETRY, key("car"), everything[20_000:40_000])
    mirror.kill()
    mirror.tick()
    mirror.write(mirror.edge, TELEMETRY, key("car"), everything[40_000:])
    assert mirror.read_until(mirror.cloud, UP, key("car"), everything[-1], BACK_WITHIN_S) == everything
    assert mirror.child.restarts == 1


def test_a_task_that_gave_up_is_started_again(mirror: Any, key: Callable[[str], str]):
    """A machine that slept finds its transaction ended by the broker; Connect then leaves the task dead."""
    everything = numbers(2_000)
    mirror.write(mirror.edge, TELEMETRY, key("car"), everything[:1_000])
    mirror.read_until(mirror.cloud, UP, key("car"), everything[0], FIRST_WITHIN_S)
    restarts = mirror.child.restarts
    mirror.fence("edge-mm2-MirrorSourceConnector-0")
    mirror.write(mirror.edge, TELEMETRY, key("car"), everything[1_000:])
    assert mirror.read_until(mirror.cloud, UP, key("car"), everything[-1], BACK_WITHIN_S) == everything
    assert mirror.child.restarts == restarts + 1


def test_a_cloud_that_was_away_gets_everything_once(mirror: Any, key: Callable[[str], str]):
    """Telemetry goes on into the edge meanwhile, and follows when the cloud answers again."""
    everything = numbers(20_000)
    mirror.write(mirror.edge, TELEMETRY, key("car"), everything[:10_000])
    mirror.read_until(mirror.cloud, UP, key("car"), everything[0], FIRST_WITHIN_S)
    mirror.cloud.pause()
    try:
        mirror.write(mirror.edge, TELEMETRY, key("car"), everything[10_000:])
        time.sleep(8)  # longer than the 6 s of the session of MirrorMaker's worker in the cloud's group
    finally:
        mirror.cloud.resume()
    assert mirror.read_until(mirror.cloud, UP, key("car"), everything[-1], BACK_WITHIN_S) == everything


class Watch:
    """`python -m mirror` beside the clusters: its log and what it counts."""

    def __init__(self, mirror: Any, log: Path) -> None:
        self.log, self._port = log, free_port()
        flags = ["--edge-bootstrap", mirror.edge.bootstrap, "--cloud-bootstrap", mirror.cloud.bootstrap]
        flags += ["--look-every-s", str(LOOK_EVERY_S), "--metrics-port", str(self._port)]
        with log.open("w") as out:
            self.process = subprocess.Popen([sys.executable, "-m", "mirror", *flags], stdout=out, stderr=out)
        until(lambda: is_ready(self._port), "the watch is ready")

    def missing(self, topic: str, reason: str) -> float:
        """What it has counted so far."""
        with web.opened(f"http://127.0.0.1:{self._port}/metrics", timeout_s=5) as answer:
            lines = answer.read().decode().splitlines()
        series = f'mirror_missing_records_total{{reason="{reason}",topic="{topic}"}} '
        (value,) = (line.removeprefix(series) for line in lines if line.startswith(series))  # 0 before a gap
        return float(value)

    def counts_at_once(self, topic: str, reason: str, count: int) -> None:
        """Fails where it needs more than one interval of looks, and the time of a look, for it."""
        until(
            lambda: self.missing(topic, reason) == count,
            f"{count} records of {topic} are missing: {reason}",
            LOOK_EVERY_S + LOOK_TAKES_S,
        )


@pytest.fixture
def watch(mirror: Any, tmp_path: Path) -> Iterator[Watch]:
    running = Watch(mirror, tmp_path / "watch.log")
    try:
        yield running
    finally:
        mirror.signal(signal.SIGCONT)
        running.process.terminate()
        assert running.process.wait(20) == 0


def test_what_replication_leaves_out_is_counted(mirror: Any, key: Callable[[str], str], watch: Watch):
    """Retention takes records while MirrorMaker stands still; it is counted before that goes on."""
    mirror.write(mirror.edge, TELEMETRY, key("car"), numbers(100))
    mirror.read_until(mirror.cloud, UP, key("car"), numbers(100)[-1], FIRST_WITHIN_S)
    time.sleep(2 * LOOK_EVERY_S)  # else records that were just copied count, too (an upper bound)
    mirror.signal(signal.SIGSTOP)
    mirror.write(mirror.edge, TELEMETRY, key("car"), numbers(300))
    mirror.delete_all(mirror.edge, TELEMETRY)
    watch.counts_at_once(TELEMETRY, "deleted", 300)
    mirror.signal(signal.SIGCONT)
    mirror.write(mirror.edge, TELEMETRY, key("other"), [b"after"])
    mirror.read_until(mirror.cloud, UP, key("other"), b"after", BACK_WITHIN_S)
    assert watch.missing(TELEMETRY, "deleted") == 300
    assert "the cloud will not have 300 records" in watch.log.read_text()


def test_what_a_topic_that_was_made_again_hides_is_counted(
    mirror: Any, key: Callable[[str], str], watch: Watch
):
    """MirrorMaker, away until the new log was longer than the old one, goes on at its old offset."""
    copies = mirrored("edge", EVIDENCE)
    mirror.write(mirror.edge, EVIDENCE, key("scorer"), numbers(100))
    mirror.read_until(mirror.cloud, copies, key("scorer"), numbers(100)[-1], FIRST_WITHIN_S)
    time.sleep(2 * LOOK_EVERY_S)  # the watch has seen the old log
    mirror.signal(signal.SIGSTOP)
    mirror.make_again(mirror.edge, EVIDENCE)
    mirror.write(mirror.edge, EVIDENCE, key("scorer"), numbers(300)[100:])
    mirror.signal(signal.SIGCONT)
    mirror.read_until(mirror.cloud, copies, key("scorer"), numbers(300)[-1], BACK_WITHIN_S)
    watch.counts_at_once(EVIDENCE, "made_again", 100)
    assert "the topic was made again" in watch.log.read_text()


def until(condition: Callable[[], object], what: str, within_s: float = 30.0) -> None:
    """Wait for a condition; fails, naming `what`, where it does not come."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s: {what}"
        time.sleep(0.1)
