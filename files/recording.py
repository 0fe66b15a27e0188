"""The rows of a table as a detector wants them: by machine and time, each moment once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from files import times as times_of
from files.errors import BadData
from files.table import Table
from files.times import Seconds, Times

ALONE = "all"  # the one machine of a file without a group column
GAP_INTERVALS = 10  # a longer pause is told of; nothing else happens, as with a car that was parked
_SMALLEST_STEP_ROWS = 200_000  # more do not show a finer step
# Of a signal's usual range: a finer change is noise to be smoothed over, whatever the file's digits say.
_RESOLUTION_OF_RANGE = 1e-3
_RANGE = (0.05, 0.95)


@dataclass(frozen=True)
class Recording:
    """N rows ordered by machine, then time.

    `machine` (N,) are places in `machines`; `signals` (N, K) in the order of `columns`, NaN where nothing
    stands; `seconds` (N,), None without a time column; `row` (N,) places in the table; `interval_s`: between
    two samples of a machine, the median.
    """

    columns: tuple[str, ...]
    machines: tuple[str, ...]
    machine: NDArray[np.int32]
    signals: NDArray[np.float64]
    seconds: Seconds | None
    row: NDArray[np.intp]
    interval_s: float
    notes: tuple[str, ...]

    @property
    def counts(self) -> NDArray[np.intp]:
        """Rows of each machine."""
        return np.bincount(self.machine, minlength=len(self.machines))

    @property
    def place(self) -> NDArray[np.intp]:
        """(N,) the how-many-eth row of its machine, from 0."""
        return np.arange(len(self.machine)) - (np.cumsum(self.counts) - self.counts)[self.machine]

    def only(self, columns: Sequence[str], notes: Sequence[str]) -> "Recording":
        """Without the other columns; the notes say why."""
        keep = [self.columns.index(name) for name in columns]
        return replace(
            self, columns=tuple(columns), signals=self.signals[:, keep], notes=(*self.notes, *notes)
        )


def recording(
    table: Table, columns: Sequence[str], *, group: str | None, time: str | None, interval_s: float
) -> tuple[Recording, Times | None]:
    """Sorted, every (machine, time) once, infinite values as missing ones; and how the times are written.

    `interval_s` holds where there is no time column. What was done stands in the notes. Raises BadData where
    nothing is left.
    """
    notes = list(table.notes)
    signals = np.stack([table.numbers[name] for name in columns], axis=1)
    infinite = np.isinf(signals)
    for name, count in zip(columns, infinite.sum(axis=0).tolist(), strict=True):
        if count:
            notes.append(f"{name}: {count} infinite values, taken as missing")
    signals[infinite] = np.nan
    times = times_of.read(time, table.texts[time]) if time else None
    machines, machine = _machines(table, group)
    keep = machine >= 0
    if times is not None:
        keep &= np.isfinite(times.seconds)
    if left_out := int((~keep).sum()):
        notes.append(
            f"{left_out} rows without {group or time}{f' or {time}' if group and time else ''}, left out"
        )
    if not keep.any():
        raise BadData(f"no row has a {group or time}")
    seconds = None if times is None else times.seconds
    row, told = _in_order(np.flatnonzero(keep), machine, seconds)
    seconds = None if seconds is None else seconds[row]
    machine = machine[row]
    interval_s, told_gaps = _interval(machine, seconds, interval_s)
    there = np.bincount(machine, minlength=len(machines)) > 0  # a machine may have had no row with a time
    found = Recording(
        columns=tuple(columns),
        machines=tuple(name for name, has in zip(machines, there, strict=True) if has),
        machine=(np.cumsum(there) - 1)[machine].astype(np.int32),
        signals=signals[row],
        seconds=seconds,
        row=row,
        interval_s=interval_s,
        notes=(*notes, *told, *told_gaps),
    )
    return found, times


def _machines(table: Table, group: str | None) -> tuple[list[str], NDArray[np.int32]]:
    """Names by the alphabet, and whose each row is, (n,); -1 where the row does not say."""
    if group is None:
        return [ALONE], np.zeros(table.rows, np.int32)
    import pyarrow as pa

    column: Any = table.texts[group]
    if pa.types.is_nested(column.type):
        raise BadData(f"{group} cannot name machines: its type is {column.type}")
    encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    code = np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), np.int32)
    order = sorted(range(len(names)), key=names.__getitem__)
    rank = np.empty(len(names) + 1, np.int32)
    rank[order], rank[-1] = np.arange(len(names)), -1
    return [names[place] for place in order], rank[code]


def _in_order(
    row: NDArray[np.intp], machine: NDArray[np.int32], seconds: Seconds | None
) -> tuple[NDArray[np.intp], list[str]]:
    """`row` by machine and time, as in the file where times are equal or none; of equal times the first."""
    by_machine = row[np.argsort(machine[row], kind="stable")]
    if seconds is None:
        return by_machine, []
    order, notes = row[np.lexsort((seconds[row], machine[row]))], []
    if (order != by_machine).any():
        notes.append("rows were not in the order of time: sorted")
    again = np.zeros(len(order), bool)
    again[1:] = (np.diff(machine[order]) == 0) & (np.diff(seconds[order]) == 0)
    if count := int(again.sum()):
        notes.append(f"{count} rows of a machine and time that were there already, left out")
    return order[~again], notes


def _interval(
    machine: NDArray[np.int32], seconds: Seconds | None, interval_s: float
) -> tuple[float, list[str]]:
    """The median of the machines' intervals, and what to tell of gaps."""
    if seconds is None:
        return interval_s, []
    steps = np.diff(seconds)[np.diff(machine) == 0]
    if not len(steps):
        raise BadData("no machine has two rows with different times: is --group a column of machines?")
    median = float(np.median(steps))
    gaps = int((steps > GAP_INTERVALS * median).sum())
    longest_h = float(steps.max()) / 3600
    told = f"{gaps} gaps of more than {GAP_INTERVALS} intervals, the longest {longest_h:.3g} h: not counted"
    return median, [told] if gaps else []


def until(found: Recording, text: str, times: Times | None) -> NDArray[np.bool_]:
    """(N,) which rows are to be learned from: of `--train-until`, a share of each machine's rows or a time.

    Raises BadData for a text that is neither, or leaves nothing on one of both sides.
    """
    share = _share(text)
    if share is not None:
        return np.asarray(found.place < share * found.counts[found.machine])
    if times is None or found.seconds is None:
        raise BadData(f"--train-until {text}: without --time it is a share of the rows, between 0 and 1")
    try:
        end = times.value(text)
    except ValueError as error:
        raise BadData(
            f"--train-until {text} is neither a share between 0 and 1 nor a time as in the file "
            f"({times.kind}): {error}"
        ) from error
    chosen = found.seconds <= end
    if not chosen.any():
        first, last = times.shown(float(found.seconds.min())), times.shown(float(found.seconds.max()))
        raise BadData(f"--train-until {text} is before the first row: the file is of {first} to {last}")
    return np.asarray(chosen)


def _share(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < 1 else None


def constants(found: Recording, chosen: NDArray[np.bool_]) -> tuple[list[str], list[str]]:
    """Columns that have no value in the chosen rows, and columns that have one only."""
    empty, constant = [], []
    for name, column in zip(found.columns, found.signals[chosen].T, strict=True):
        known = column[~np.isnan(column)]
        if not len(known):
            empty.append(name)
        elif known.min() == known.max():
            constant.append(name)
    return empty, constant


def resolutions(signals: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K,) below which a change is no news: a column's finest step, or a thousandth of its usual range."""
    found = []
    for column in signals.T:
        known = column[~np.isnan(column)]
        values = np.unique(known[:: len(known) // _SMALLEST_STEP_ROWS + 1])
        step = float(np.diff(values).min()) if len(values) > 1 else 1.0
        low, high = np.quantile(known, _RANGE) if len(known) else (0.0, 0.0)
        found.append(max(step, _RESOLUTION_OF_RANGE * float(high - low)))
    return np.array(found)
