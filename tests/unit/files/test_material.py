"""Which columns and rows a detector is learned from."""

import numpy as np
import pytest

from files import BadData, material
from files.recording import Recording


def _recording(counts: list[int], columns: int = 3, interval_s: float = 60.0) -> Recording:
    """Machines with so many rows each, of random signals."""
    machine = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    return Recording(
        columns=tuple("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[:columns]),
        machines=tuple(f"m{number}" for number in range(len(counts))),
        machine=machine,
        signals=np.random.default_rng(1).normal(size=(len(machine), columns)),
        times=None,
        row=np.arange(len(machine)),
        interval_s=interval_s,
        notes=(),
    )


def _all(recording: Recording) -> material.Rows:
    return np.ones(len(recording.row), bool)


def test_columns_that_say_nothing_are_left_out_and_said():
    """One without values, one that is always the same; a value after the training does not help."""
    recording = _recording([10], 4)
    recording.signals[:, 1] = 7
    recording.signals[9, 1] = 8
    recording.signals[:, 2] = np.nan
    training = np.arange(10) < 9
    kept, left_out = material.useful(recording, training, ["a", "b", "c"])
    assert (kept.columns, left_out) == (("a", "d"), ["c", "b"])
    assert kept.notes == (
        "c has no value in the training rows and was left out",
        "b is constant in the training rows and was left out",
    )


def test_without_any_signal_left_there_is_nothing_to_do():
    """Conditions alone are not judged."""
    recording = _recording([10], 2)
    recording.signals[:, 0] = 1
    with pytest.raises(BadData, match=r"no signal is left to judge\. a is constant"):
        material.useful(recording, _all(recording), ["a"])


def test_conditions_are_not_judged_unless_they_are_signals_too():
    """And what never repeats itself is watched for getting stuck."""
    recording = _recording([100], 3)
    recording.signals[:, 1] = np.round(recording.signals[:, 1])
    domain = material.domain(recording, _all(recording), ["a", "b"], ["b", "c"])
    assert domain.signals == ("a", "b", "c")
    assert domain.judged.tolist() == [True, True, False]
    assert domain.conditions.tolist() == [False, True, True]
    assert domain.restless.tolist() == [True, False, False]
    assert domain.targets().tolist() == [0, 1, 2]


def test_more_signals_than_a_state_holds_are_refused():
    """A machine's state has 64 numbers, as a car's; what could get stuck gives way first."""
    recording = _recording([100], 20)
    assert not material.domain(recording, _all(recording), recording.columns, []).restless.any()
    many = _recording([100], 40)
    with pytest.raises(BadData, match="too many columns: 40 judged signals"):
        material.domain(many, _all(many), many.columns, [])


def test_machines_are_watched_for_a_share_of_what_there_is():
    """By default a fifth of the median machine's rows, and a quarter of that for averaging."""
    recording = _recording([1000, 1000, 500])
    assert material.lengths(recording, _all(recording), None, None) == material.Window(200, 50.0)
    assert material.lengths(recording, _all(recording), 6000.0, 600.0) == material.Window(100, 10.0)


@pytest.mark.parametrize(
    ("counts", "learning_s", "memory_s", "message"),
    [
        ([80], None, None, "too few training rows: 80 of 1 machines, the longest has 80"),
        ([100, 100], None, None, "all together 300"),
        ([1000], 60_000.0, None, "watched for 1000 rows.*shorter --learning-s"),
        ([1000], 600.0, 6000.0, "--learning-s and --memory-s do not fit: a memory of 100"),
    ],
)
def test_too_few_rows_are_refused(
    counts: list[int], learning_s: float | None, memory_s: float | None, message: str
):
    """With how many there are, and what would help."""
    recording = _recording(counts)
    with pytest.raises(BadData, match=f"(?s){message}"):
        material.lengths(recording, _all(recording), learning_s, memory_s)


def test_the_last_rows_of_training_set_the_threshold():
    """The first two thirds of each machine are learned from; machines with too few rows are in neither."""
    recording = _recording([900, 600, 60])
    training = recording.number < 0.5 * recording.counts[recording.machine]
    early, late = material.parts(recording, training, material.Window(50, 10))
    assert np.bincount(recording.machine[early], minlength=3).tolist() == [300, 200, 0]
    assert np.bincount(recording.machine[late], minlength=3).tolist() == [150, 100, 0]
    assert not (early & late).any()
    assert recording.number[late & (recording.machine == 0)].min() == 300


def test_enough_rows_have_a_value_in_every_column():
    """What is missing here and there is masked; where it leaves too few rows, the worst column is named."""
    recording = _recording([900])
    recording.signals[::3, 0] = np.nan
    early, late = material.parts(recording, _all(recording), material.Window(50, 10))
    assert (early.sum(), late.sum()) == (600, 300)
    recording.signals[1::3, 0] = np.nan
    recording.signals[2::6, 2] = np.nan
    with pytest.raises(BadData, match=r"only 100 rows .* a is missing in 67 %"):
        material.parts(recording, _all(recording), material.Window(50, 10))
