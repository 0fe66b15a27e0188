"""What a detector is learned from: useful columns, how long machines are watched, which rows are for what."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from files.errors import BadData
from files.recording import Recording, constants, resolutions
from trainer.model.domain import Domain, plain_domain
from trainer.model.state import Memory, state_columns

Rows = NDArray[np.bool_]

# Of a machine's rows to learn from, the last set the threshold: the model has not seen them.
CALIBRATION_SHARE = 1 / 3
# Without --learning-s: this share of the rows that the usual machine has to learn from, within bounds.
_LEARNING_SHARE, _LEARNING_SAMPLES_MIN, _LEARNING_SAMPLES_MAX = 0.2, 30, 5_000
_MEMORY_OF_LEARNING = 0.25  # without --memory-s
_ROWS_MIN = 300
# A signal that repeats its last value in fewer rows than this may be stuck when it does.
_RESTLESS_REPEATS = 0.01


def useful(found: Recording, training: Rows, signals: Sequence[str]) -> tuple[Recording, list[str]]:
    """Without the columns that say nothing in the rows to learn from; and their names.

    Raises BadData where no signal is left.
    """
    empty, constant = constants(found, training)
    if not empty and not constant:
        return found, []
    told = [f"{name}: no value in the rows to learn from, left out" for name in empty]
    told += [f"{name}: always the same in the rows to learn from, left out" for name in constant]
    left = [name for name in found.columns if name not in {*empty, *constant}]
    if not set(left) & set(signals):
        raise BadData(f"no signal is left to judge. {'; '.join(told)}: name others in --signals")
    return found.only(left, told), [*empty, *constant]


def domain(found: Recording, training: Rows, signals: Sequence[str], conditions: Sequence[str]) -> Domain:
    """Signals, conditions and resolutions of the columns, as the training knows them.

    Raises BadData for more signals than fit into a machine's state.
    """
    columns = found.columns
    kept = [name for name in signals if name in columns]
    rows = found.signals[training]
    made = plain_domain(kept, [name for name in conditions if name in columns], resolutions(rows).tolist())
    same = np.diff(found.machine[training]) == 0
    repeats = (np.diff(rows, axis=0)[same] == 0).mean(axis=0)
    judged = made.judged & (repeats < _RESTLESS_REPEATS)
    made = replace(made, restless=judged)
    try:
        state_columns(made)
    except ValueError:
        made = replace(made, restless=np.zeros_like(judged))
    try:
        state_columns(made)
    except ValueError as error:
        raise BadData(f"too many columns: {error}") from error
    return made


def lengths(found: Recording, training: Rows, learning_s: float | None, memory_s: float | None) -> Memory:
    """How long a machine is watched, and how far back deviations are averaged.

    Raises BadData where no machine has enough rows to be watched, learned from and to set the threshold.
    """
    rows = np.bincount(found.machine[training], minlength=len(found.machines))
    usual = float(np.median(rows[rows > 0]))
    learning = (
        np.clip(_LEARNING_SHARE * usual, _LEARNING_SAMPLES_MIN, _LEARNING_SAMPLES_MAX)
        if learning_s is None
        else max(1.0, learning_s / found.interval_s)
    )
    memory = _MEMORY_OF_LEARNING * learning if memory_s is None else memory_s / found.interval_s
    try:
        memory_samples = Memory(round(learning), max(1.0, float(memory)))
    except ValueError as error:
        raise BadData(f"--learning-s and --memory-s do not fit: {error}") from error
    enough = rows * (1 - CALIBRATION_SHARE) >= 2 * memory_samples.learning_samples
    if not enough.any() or rows[enough].sum() < _ROWS_MIN:
        raise BadData(
            f"too few rows to learn from: {int(rows.sum())} of {len(found.machines)} machines, the longest "
            f"has {int(rows.max())}. Each is watched for {memory_samples.learning_samples} rows and should "
            f"have three times as many, all together {_ROWS_MIN}: give a longer file, a later --train-until, "
            "or a shorter --learning-s"
        )
    return memory_samples


def parts(found: Recording, training: Rows, memory: Memory) -> tuple[Rows, Rows]:
    """(rows to learn from, rows that set the threshold): of each machine the first, and the last of training.

    Machines with too few rows to be watched are in neither. Raises BadData where too few of the rows to learn
    from have a value in every column.
    """
    rows = np.bincount(found.machine[training], minlength=len(found.machines))
    end = np.floor(rows * (1 - CALIBRATION_SHARE))[found.machine]
    enough = (end >= 2 * memory.learning_samples) & training
    early, late = enough & (found.place < end), enough & (found.place >= end)
    missing = np.isnan(found.signals)
    whole = early & ~missing.any(axis=1)
    if whole.sum() < _ROWS_MIN:
        share = missing[early].mean(axis=0)
        worst = found.columns[int(share.argmax())]
        raise BadData(
            f"only {int(whole.sum())} rows to learn from have a value in every column, {_ROWS_MIN} are "
            f"needed; {worst} is missing in {100 * share.max():.0f} %: leave it out, or fill it before"
        )
    return early, late
