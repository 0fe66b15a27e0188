"""What a soak run counts, and how it tells growth from noise."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtest.soak.counted import CarCounts
from loadtest.soak.report import SoakResults
from loadtest.soak.samples import Sample, Use, folder_use, slope_per_h, uses
from loadtest.soak.settings import Settings
from local.ledger import SEQ_BITS, Published, Stage
from local.supervisor import Child, Supervisor

PUBLISHED = Published(["car-0", "car-1"], np.array([4, 2]), np.array([4, 2]))


def records(*pairs: tuple[int, int]) -> Any:
    """Records (car, seq) as the ledger numbers them."""
    return np.array([car << SEQ_BITS | seq for car, seq in pairs], np.int64)


def counted(*batches: Any) -> Stage:
    """The ledger's row after these batches."""
    counts = CarCounts(2)
    for batch in batches:
        counts.add(batch)
    return counts.stage("edge_kafka", PUBLISHED)


def test_a_complete_log_has_lost_nothing():
    """However the cars' records mix and are cut into batches."""
    stage = counted(records((0, 1), (1, 1), (0, 2)), records((1, 2), (0, 3)), records((0, 4)))
    assert (stage.expected, stage.distinct, stage.duplicates, stage.lost) == (6, 6, 0, 0)


def test_a_missing_record_is_lost():
    """Also where later ones of its car have come."""
    stage = counted(records((0, 1), (0, 2), (0, 4), (1, 1), (1, 2)))
    assert (stage.distinct, stage.duplicates, stage.lost) == (5, 0, 1)


def test_a_repeated_record_does_not_hide_a_lost_one():
    """Whether it is repeated in its batch or in a later one."""
    for batches in (
        [records((0, 1), (0, 2), (0, 2), (0, 4), (1, 1), (1, 2))],
        [records((0, 1), (0, 2), (1, 1)), records((0, 2), (0, 4), (1, 2))],
    ):
        stage = counted(*batches)
        assert (stage.distinct, stage.duplicates, stage.lost) == (5, 1, 1)


def test_records_of_unknown_cars_do_not_count():
    """-1 is a record that could not be decoded, or of a car that is not of the fleet."""
    assert counted(np.array([-1, -1], np.int64), records((0, 1))).distinct == 1


def test_peaks_are_no_growth_and_growth_is_found_under_them():
    """A heap that breathes stays within its bar; 2 MiB an hour are seen under peaks of 50."""
    at_s = np.arange(0, 4 * 3_600, 60.0)
    peaks = 50.0 * (np.arange(len(at_s)) % 10 == 0)
    assert slope_per_h(at_s.tolist(), (100 + peaks).tolist()) == pytest.approx(0, abs=0.1)
    growing = 100 + peaks + 2 * at_s / 3_600
    assert slope_per_h(at_s.tolist(), growing.tolist()) == pytest.approx(2, abs=0.1)
    assert slope_per_h([0.0, 1.0], [1.0, 2.0]) is None


def test_a_process_is_measured_with_all_that_it_started(tmp_path: Path):
    """Memory, descriptors and threads of the whole tree."""
    supervisor = Supervisor(tmp_path)
    supervisor.start(Child("shell", ["sh", "-c", "sleep 60 & wait"]))
    use, deadline = Use(0, 0, 0), time.monotonic() + 10
    try:
        # Both are there at once, but a process begins as a copy of the one that starts it.
        while (use.threads, use.descriptors >= 6, use.mib > 0.1) != (2, True, True):
            assert time.monotonic() < deadline, use
            use = uses(supervisor)["shell"]
    finally:
        supervisor.stop_all()


def test_files_and_the_disk_that_they_take(tmp_path: Path):
    """What is allocated counts, not the nominal size of a sparse file."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/full").write_bytes(os.urandom(1 << 20))
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 30)
    files, mib = folder_use(tmp_path)
    assert files == 2
    assert 1 <= mib < 2


def test_every_missed_bar_is_named():
    """Growth after the warm-up, lost and doubled records, restarts."""

    def sample(hour: float, mib: float) -> Sample:
        return Sample(3_600 * hour, {"bridge": Use(mib, 10, 5), "edge": Use(300, 9, 9)}, 3, 20.0, {"edge": 7})

    warm_up = [sample(0.1 * step, 10 * step) for step in range(10)]
    results = SoakResults(
        settings=Settings(),
        samples=[*warm_up, *(sample(hour, 100 + 3 * hour) for hour in range(1, 5))],
        stages=[Stage("edge_kafka", 9, 8, 0, 1), Stage("cloud_kafka", 9, 9, 2, 0)],
        restarts=1,
        interrupted=False,
    )
    assert results.broken == [
        "1 records lost: edge_kafka",
        "2 records twice: cloud_kafka",
        "bridge grows by 3.0 MiB an hour, 1.0 are allowed",
        "1 restarts",
    ]
    assert results.summary["processes"]["edge"] == {
        "mib_first": 300, "mib_last": 300, "mib_per_h": 0.0,
        "descriptors_first": 9, "descriptors_last": 9, "descriptors_per_h": 0.0,
        "threads_first": 9, "threads_last": 9, "threads_per_h": 0.0,
    }  # fmt: skip
    assert results.summary["waiting_max"] == {"edge": 7}
