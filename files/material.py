"""The training data: which columns are useful, how long machines are watched, which rows serve what."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from files import BadData
from files.recording import Recording, constants, resolutions
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
    empty, constant = constants(recording, training)
    if not empty and not constant:
        return recording, []
    notes = [f"{name} has no value in the training rows and was left out" for name in empty]
    notes += [f"{name} is constant in the training rows and was left out" for name in constant]
    left = [name for name in recording.columns if name not in {*empty, *constant}]
    if not set(left) & set(signals):
        raise BadData(f"no signal is left to judge. {'; '.join(notes)}: name other columns in --signals")
    return recording.only(left, notes), [*empty, *constant]


def domain(recording: Recording, training: Rows, signals: Sequence[str], conditions: Sequence[str]) -> Domain:
    """The detector's domain: signals, conditions and resolutions of the columns.

    Raises BadData for more signals than fit into a machine's state.
    """
    columns = recording.columns
    kept = [name for name in signals if name in columns]
    rows = recording.signals[training]
    made = plain_domain(kept, [name for name in conditions if name in columns], resolutions(rows).tolist())
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


def plain_domain(
    signals: Sequence[str], conditions: Sequence[str] = (), resolution: Sequence[float] | None = None
) -> Domain:
    """The domain of any columns, without ratios: all `signals` are judged, each by itself.

    `conditions` make the operating point; those that are not among `signals` are added behind them and are
    not judged. `resolution`: a positive number for each of both, in this order; None: 1e-6 for all.
    Raises ValueError without a signal, for a name that occurs twice, or a resolution that does not fit.
    """
    names = (*signals, *[name for name in conditions if name not in signals])
    if not signals or len(set(names)) != len(names) or len(set(conditions)) != len(conditions):
        raise ValueError("signals must be at least one, and no column may be named twice")
    sizes = np.full(len(names), 1e-6) if resolution is None else np.array(resolution, np.float64)
    if sizes.shape != (len(names),) or not (np.isfinite(sizes) & (sizes > 0)).all():
        raise ValueError(
            f"resolution must be {len(names)} positive numbers, one for each of {', '.join(names)}"
        )
    return Domain(
        signals=names,
        judged=np.isin(names, signals),
        conditions=np.isin(names, conditions),
        resolution=sizes,
        restless=np.zeros(len(names), bool),
    )


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
