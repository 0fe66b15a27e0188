"""The training data: which columns are useful, how long machines are watched, which rows serve what."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from files import BadData
from files.recording import Recording, resolutions
from trainer.model.domain import Domain
from trainer.model.state import Window, state_columns

Rows = NDArray[np.bool_]

# The last third of a machine's training rows sets the threshold; the model does not learn from it.
CALIBRATION_SHARE = 1 / 3
# Without --learning-s: this share of a median machine's training rows, within bounds.
_LEARNING_SHARE, _LEARNING_SAMPLES_MIN, _LEARNING_SAMPLES_MAX = 0.2, 30, 5_000
_MEMORY_OF_LEARNING = 0.25  # without --memory-s
_ROWS_MIN = 300
# Signals that repeat their last value in a smaller share of rows than this count as stuck when they do.
_RESTLESS_REPEATS = 0.01


def useful(recording: Recording, training: Rows, signals: Sequence[str]) -> tuple[Recording, list[str]]:
    """(the recording without the columns that are empty or constant in the training rows, their names).

    Raises BadData where no signal is left.
    """
    rows, columns = recording.signals[training], np.array(recording.columns)
    low, high = np.fmin.reduce(rows), np.fmax.reduce(rows)  # NaN for a column without values
    empty, constant = columns[np.isnan(low)].tolist(), columns[low == high].tolist()
    if not empty and not constant:
        return recording, []
    notes = [f"{name} has no value in the training rows and was left out" for name in empty]
    notes += [f"{name} is constant in the training rows and was left out" for name in constant]
    keep = low < high
    if not keep[np.isin(columns, signals)].any():
        raise BadData(f"no signal is left to judge. {'; '.join(notes)}: name other columns in --signals")
    left = replace(
        recording,
        columns=tuple(columns[keep].tolist()),
        signals=recording.signals[:, keep],
        notes=(*recording.notes, *notes),
    )
    return left, [*empty, *constant]


def domain(recording: Recording, training: Rows, signals: Sequence[str], conditions: Sequence[str]) -> Domain:
    """The detector's domain: signals, conditions and resolutions of the columns.

    Raises BadData for more signals than fit into a machine's state.
    """
    columns = recording.columns
    rows = recording.signals[training]
    made = Domain(
        signals=columns,
        judged=np.isin(columns, signals),
        conditions=np.isin(columns, conditions),
        resolution=resolutions(rows),
        restless=np.zeros(len(columns), bool),
    )
    same = np.diff(recording.machine[training]) == 0
    repeats = (np.diff(rows, axis=0)[same] == 0).mean(axis=0)
    watched = replace(made, restless=made.judged & (repeats < _RESTLESS_REPEATS))
    with suppress(ValueError):
        state_columns(watched)
        return watched
    try:
        state_columns(made)
    except ValueError as error:
        raise BadData(f"too many columns: {error}") from error
    return made


def lengths(recording: Recording, training: Rows, learning_s: float | None, memory_s: float | None) -> Window:
    """For how many rows a machine is watched, and over how many deviations are averaged.

    Raises BadData when no machine has enough rows for watching, learning and setting the threshold.
    """
    rows = np.bincount(recording.machine[training], minlength=len(recording.machines))
    usual = float(np.median(rows[rows > 0]))
    learning = (
        np.clip(_LEARNING_SHARE * usual, _LEARNING_SAMPLES_MIN, _LEARNING_SAMPLES_MAX)
        if learning_s is None
        else max(1.0, learning_s / recording.interval_s)
    )
    memory = _MEMORY_OF_LEARNING * learning if memory_s is None else memory_s / recording.interval_s
    try:
        window = Window(round(learning), max(1.0, float(memory)))
    except ValueError as error:
        raise BadData(f"--learning-s and --memory-s do not fit: {error}") from error
    enough = rows * (1 - CALIBRATION_SHARE) >= 2 * window.learning_samples
    if not enough.any() or rows[enough].sum() < _ROWS_MIN:
        raise BadData(
            f"too few training rows: {int(rows.sum())} of {len(recording.machines)} machines, the longest "
            f"has {int(rows.max())}. Each is watched for {window.learning_samples} rows and should "
            f"have three times as many, all together {_ROWS_MIN}: give a longer file, a later --train-until, "
            "or a shorter --learning-s"
        )
    return window


def parts(recording: Recording, training: Rows, window: Window) -> tuple[Rows, Rows]:
    """Masks (N,) of the rows to learn from and of those that set the threshold: early and late training rows.

    Machines with too few rows are in neither. Raises BadData when too few of the rows to learn from have a
    value in every column.
    """
    rows = np.bincount(recording.machine[training], minlength=len(recording.machines))
    end = np.floor(rows * (1 - CALIBRATION_SHARE))[recording.machine]
    enough = (end >= 2 * window.learning_samples) & training
    early, late = enough & (recording.number < end), enough & (recording.number >= end)
    missing = np.isnan(recording.signals)
    whole = early & ~missing.any(axis=1)
    if whole.sum() < _ROWS_MIN:
        share = missing[early].mean(axis=0)
        worst = recording.columns[int(share.argmax())]
        raise BadData(
            f"only {int(whole.sum())} rows to learn from have a value in every column, {_ROWS_MIN} are "
            f"needed; {worst} is missing in {100 * share.max():.0f} %: leave it out, or fill it before"
        )
    return early, late
