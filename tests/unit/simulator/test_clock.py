"""The time of a run, and samples of a clock that was not set."""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from plumbing.life import Stop
from simulator.clock import Clock, wait_until_set
from tests.unit.simulator.two_cars import RING, K, TwoCars

EPOCH_MS = 1_790_000_000_000
IN_1970_MS = 5_000


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time of the wall clock, which only the test moves; a sleep takes a day."""
    now = [EPOCH_MS / 1_000]
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda _: now.__setitem__(0, now[0] + 86_400))
    return now


def test_the_time_of_a_run_follows_a_clock_that_was_set(wall: list[float]) -> None:
    """Forward and back; not where it is slewed, nor to a time before the run."""
    clock = Clock(EPOCH_MS)
    for moved_s, expected_s in ((59, 0), (3_600, 3_600), (7_200, 7_200), (3_000, 3_000), (-1e9, 3_000)):
        wall[0] = EPOCH_MS / 1_000 + moved_s
        clock.follow()
        assert clock.now_s == pytest.approx(expected_s, abs=1)


def test_a_start_waits_until_the_clock_is_set(wall: list[float], caplog: pytest.LogCaptureFixture) -> None:
    """It says so, once in the log, and ends at once when it is told to."""
    wall[0], reasons = EPOCH_MS / 1_000 - 5 * 86_400, list[str]()
    wait_until_set(Stop(), EPOCH_MS, reasons.append)
    assert len(reasons) == 5
    assert len(caplog.records) == 1
    wall[0], stop = 5.0, Stop()
    stop.request()
    wait_until_set(stop)
    assert wall[0] == 5.0


def test_no_sample_is_taken_at_a_time_that_no_record_can_have(fleet: TwoCars) -> None:
    """It is skipped, seq has no gap, and the next one goes out."""
    fleet.connect()
    fleet.uplink.sample(slice(0, 2), IN_1970_MS, np.ones((2, K), np.float32), fleet.now)
    assert fleet.counts.skipped == 2
    fleet.sample(3)
    assert fleet.sent() == [1, 2, 3]


def test_samples_of_1970_in_a_journal_do_not_silence_a_car(fleet: TwoCars) -> None:
    """A run folder of an earlier release has them: they are left out, wherever they are in the ring."""
    everyone, readings = np.ones(2, np.bool_), np.ones((2, K), np.float32)
    good_ms = 1_700_000_000_000
    for at_ms in (IN_1970_MS, good_ms, IN_1970_MS, IN_1970_MS):
        fleet.journal.append(slice(0, 2), at_ms, readings, everyone)
    fleet.connect()
    assert fleet.sent() == [2]
    fleet.answer(2)
    assert fleet.journal.acknowledged.tolist()[0] == 4
    fleet.sample(RING)
    assert fleet.sent()[:4] == [2, 5, 6, 7]
    fleet.connect(present=False)  # a lost session: all of the ring again, but for these
    assert not set(fleet.sent()) & {1, 3, 4}
