"""Rows by machine and time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from files import BadData
from files.recording import ALONE, resolutions, until

Recorded = Callable[..., Any]
THREE = "p1,1,10,0\np1,2,11,0\np1,3,12,0\n"


def test_rows_are_sorted_and_said_to_be(recorded: Recorded):
    """By machine, then time; each row knows its place in the file."""
    recording = recorded("p2,2,1,5\np1,3,2,5\np2,1,3,5\np1,1,4,5\n")
    assert recording.machines == ("p1", "p2")
    assert recording.machine.tolist() == [0, 0, 1, 1]
    assert recording.signals[:, 0].tolist() == [4, 2, 3, 1]
    assert recording.row.tolist() == [3, 1, 2, 0]
    assert recording.number.tolist() == [0, 1, 0, 1]
    assert recording.notes == ("the rows were not in order of time and were sorted",)


def test_rows_in_order_need_no_note(recorded: Recorded):
    """Machines may alternate, as in a log of all of them."""
    recording = recorded("p1,1,1,5\np2,1,2,5\np1,2,3,5\np2,2,4,5\n")
    assert recording.signals[:, 0].tolist() == [1, 3, 2, 4]
    assert recording.notes == ()


def test_a_time_that_comes_again_counts_once(recorded: Recorded):
    """The first row of a machine and time stays; the same time of two machines is no repetition."""
    recording = recorded("p1,1,1,5\np1,1,2,5\np1,2,3,5\np2,1,4,5\np2,2,4,5\n")
    assert recording.signals[:, 0].tolist() == [1, 3, 4, 4]
    assert recording.notes == (
        "1 rows repeated a machine and time that an earlier row has, and were left out",
    )


def test_rows_without_machine_or_time_are_left_out(recorded: Recorded):
    """Nobody can say where they belong; a machine that has no other rows is none."""
    recording = recorded(THREE + ",4,13,0\np1,,14,0\np2,,15,0\n")
    assert (recording.machines, len(recording.row)) == (("p1",), 3)
    assert recording.notes == ("3 rows without who or when, left out",)


def test_infinite_values_are_missing_ones(recorded: Recorded):
    """A division by zero in somebody's export is no measurement."""
    recording = recorded("p1,1,inf,1\np1,2,-inf,2\np1,3,3,3\n")
    np.testing.assert_array_equal(recording.signals[:, 0], [np.nan, np.nan, 3])
    assert recording.notes == ("a: 2 infinite values were taken as missing",)


def test_a_file_without_machines_is_one(recorded: Recorded):
    """And without times its rows come one interval apart, in the order of the file."""
    recording = recorded("x,9,3,1\nx,8,2,1\nx,7,1,1\n", group=None, time=None, interval_s=60.0)
    assert (recording.machines, recording.times, recording.seconds, recording.interval_s) == (
        (ALONE,),
        None,
        None,
        60.0,
    )
    assert recording.signals[:, 0].tolist() == [3, 2, 1]


def test_gaps_are_told_and_not_counted(recorded: Recorded):
    """The interval is the median one; a pause is time away, as of a parked car."""
    recording = recorded("".join(f"p1,{when},1,1\n" for when in (0, 10, 20, 30, 3630, 3640)))
    assert recording.interval_s == 10
    assert recording.notes == ("1 gaps of more than 10 intervals (the longest 1 h) are not counted",)


def test_a_group_of_single_rows_is_no_group(recorded: Recorded):
    """Perhaps another column was meant."""
    with pytest.raises(BadData, match="is --group a column of machines"):
        recorded("p1,1,1,1\np2,1,1,1\np3,2,1,1\n")


def test_a_file_whose_rows_all_lack_a_machine_is_refused(recorded: Recorded):
    """An empty column was named."""
    with pytest.raises(BadData, match="no row has a who"):
        recorded(",1,1,1\n,2,1,1\n")


def test_training_ends_at_a_share_of_each_machine(recorded: Recorded):
    """A machine that came later is learned from as well."""
    recording = recorded(THREE + "p2,101,1,1\np2,102,1,1\n")
    assert until(recording, "0.5").tolist() == [True, True, False, True, False]


def test_training_ends_at_a_time_of_the_file(recorded: Recorded):
    """Written as the file writes times; the row of that time is still learned from."""
    recording = recorded(THREE)
    assert until(recording, "2").tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("text", "time", "message"),
    [
        ("0", "when", "before the first row: the file spans 1 s to 3 s"),
        ("soon", "when", "neither a share between 0 and 1 nor a time"),
        ("2", None, "without --time it must be a share"),
    ],
)
def test_an_end_that_leaves_nothing_is_refused(recorded: Recorded, text: str, time: str | None, message: str):
    """The message says what the file spans, or what can be given."""
    recording = recorded(THREE, time=time)
    with pytest.raises(BadData, match=message):
        until(recording, text)


def test_the_finest_step_of_a_column_is_its_resolution():
    """A sensor of whole numbers has 1, a switch too, a continuous one a thousandth of its usual range."""
    chance = np.random.default_rng(1)
    columns = [
        chance.integers(0, 50, 1000),
        chance.integers(0, 2, 1000),
        chance.normal(0, 1, 1000),
        np.full(1000, 3),
    ]
    recording = resolutions(np.stack(columns, axis=1).astype(np.float64))
    assert recording[:2].tolist() == [1, 1]
    assert 1e-3 < recording[2] < 1e-2
    assert recording[3] > 0
