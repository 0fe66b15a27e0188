"""A table's rows in the order a detector needs: by machine, then time, without repeated times."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from files import BadData
from files import times as times_of
from files.table import Table
from files.times import Seconds, Times
from trainer.model.replay import ranks

ALONE = "all"  # name of the only machine in a file without a group column
GAP_INTERVALS = 10  # a longer pause is only reported: it counts as a parked car's does
_SMALLEST_STEP_ROWS = 200_000  # more rows would not show a finer step
# Share of a signal's usual range: smaller changes are noise, however many digits the file has.
_RESOLUTION_OF_RANGE = 1e-3
_RANGE = (0.05, 0.95)


@dataclass(frozen=True)
class Recording:
    """N rows ordered by machine, then time."""

    columns: tuple[str, ...]  # names of the K signals
    machines: tuple[str, ...]  # names
    machine: NDArray[np.int32]  # (N,) indices into `machines`
    signals: NDArray[np.float64]  # (N, K), NaN where the file has no value
    times: Times | None  # (N,); None without a time column
    row: NDArray[np.intp]  # (N,) row numbers in the table, from 0
    interval_s: float  # median time between two samples of a machine
    notes: tuple[str, ...]  # what was done to the data, for people

    @property
    def seconds(self) -> Seconds | None:
        """(N,) time of each row; None without a time column."""
        return None if self.times is None else self.times.seconds

    @property
    def counts(self) -> NDArray[np.intp]:
        """Rows of each machine."""
        return np.bincount(self.machine, minlength=len(self.machines))

    @property
    def number(self) -> NDArray[np.intp]:
        """(N,) number of each row within its machine, from 0."""
        return ranks(self.machine)


def from_table(
    table: Table, columns: Sequence[str], *, group: str | None, time: str | None, interval_s: float
) -> Recording:
    """The table's rows sorted, without repeated (machine, time) pairs, with infinite values as NaN.

    `interval_s` is used where there is no time column. The notes say what was changed. Raises BadData when no
    row is left.
    """
    notes = list(table.notes)
    signals = np.stack([table.numbers[name] for name in columns], axis=1)
    infinite = np.isinf(signals)
    for name, count in zip(columns, infinite.sum(axis=0).tolist(), strict=True):
        if count:
            notes.append(f"{name}: {count} infinite values were taken as missing")
    signals[infinite] = np.nan
    times = times_of.read(time, table.texts[time]) if time else None
    keep = np.ones(table.rows, bool) if times is None else np.isfinite(times.seconds)
    machines, machine = _machines(table, group, keep)
    keep = machine >= 0
    if left_out := int((~keep).sum()):
        notes.append(
            f"{left_out} rows without {group or time}{f' or {time}' if group and time else ''}, left out"
        )
    if not keep.any():
        raise BadData(f"no row has a {group or time}")
    row = _in_order(np.flatnonzero(keep), machine, times, notes)
    machine, times = machine[row], times and replace(times, seconds=times.seconds[row])
    interval_s = interval_s if times is None else _interval(machine, times.seconds, notes)
    return Recording(
        columns=tuple(columns),
        machines=tuple(machines),
        machine=machine,
        signals=signals[row],
        times=times,
        row=row,
        interval_s=interval_s,
        notes=tuple(notes),
    )


def _machines(
    table: Table, group: str | None, timed: NDArray[np.bool_]
) -> tuple[list[str], NDArray[np.int32]]:
    """Machine names in alphabetical order, and each row's index into them (n,).

    The index is -1 for a row without a machine or not in `timed` (n,); other machines are not named.
    """
    if group is None:
        return [ALONE], np.where(timed, np.int32(0), np.int32(-1))
    column: Any = table.texts[group]
    if pa.types.is_nested(column.type):
        raise BadData(f"{group} cannot be the column of machines: its type is {column.type}")
    names = pc.if_else(pa.array(timed), column.cast(pa.string()), None)
    ordered = pc.unique(names.drop_null()).sort()
    code = pc.index_in(names, ordered).fill_null(-1)
    return ordered.to_pylist(), np.asarray(code.to_numpy(), np.int32)


def _in_order(
    row: NDArray[np.intp], machine: NDArray[np.int32], times: Times | None, notes: list[str]
) -> NDArray[np.intp]:
    """`row` sorted by machine and time (stable); only the first row of each (machine, time) is kept."""
    by_machine = row[np.argsort(machine[row], kind="stable")]
    if times is None:
        return by_machine
    seconds = times.seconds
    order = row[np.lexsort((seconds[row], machine[row]))]
    if (order != by_machine).any():
        notes.append("the rows were not in order of time and were sorted")
    repeated = np.zeros(len(order), bool)
    repeated[1:] = (np.diff(machine[order]) == 0) & (np.diff(seconds[order]) == 0)
    if count := int(repeated.sum()):
        notes.append(f"{count} rows repeated a machine and time that an earlier row has, and were left out")
    return order[~repeated]


def _interval(machine: NDArray[np.int32], seconds: Seconds, notes: list[str]) -> float:
    """The median interval in seconds; gaps are noted."""
    steps = np.diff(seconds)[np.diff(machine) == 0]
    if not len(steps):
        raise BadData("no machine has two rows with different times: is --group a column of machines?")
    median = float(np.median(steps))
    if gaps := int((steps > GAP_INTERVALS * median).sum()):
        notes.append(
            f"{gaps} gaps of more than {GAP_INTERVALS} intervals (the longest {steps.max() / 3600:.3g} h) "
            "are not counted"
        )
    return median


def until(recording: Recording, text: str) -> NDArray[np.bool_]:
    """(N,) mask of the training rows; `text` (--train-until) is a share of each machine's rows, or a time.

    Raises BadData for a text that is neither, or that leaves no training rows.
    """
    with suppress(ValueError):
        if 0 < (share := float(text)) < 1:
            return np.asarray(recording.number < share * recording.counts[recording.machine])
    times = recording.times
    if times is None:
        raise BadData(f"--train-until {text}: without --time it must be a share of the rows, between 0 and 1")
    try:
        end = times.value(text)
    except ValueError as error:
        raise BadData(
            f"--train-until {text} is neither a share between 0 and 1 nor a time as in the file "
            f"({times.kind}): {error}"
        ) from error
    chosen = times.seconds <= end
    if not chosen.any():
        first, last = times.shown(float(times.seconds.min())), times.shown(float(times.seconds.max()))
        raise BadData(f"--train-until {text} is before the first row: the file spans {first} to {last}")
    return np.asarray(chosen)


def resolutions(signals: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K,) smallest meaningful change: a column's finest step, at least a thousandth of its usual range."""
    smallest = []
    for column in signals.T:
        known = column[~np.isnan(column)]
        values = np.unique(known[:: len(known) // _SMALLEST_STEP_ROWS + 1])
        step = float(np.diff(values).min()) if len(values) > 1 else 1.0
        low, high = np.quantile(known, _RANGE) if len(known) else (0.0, 0.0)
        smallest.append(max(step, _RESOLUTION_OF_RANGE * float(high - low)))
    return np.array(smallest)
