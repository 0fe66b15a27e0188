"""A CSV or Parquet file as columns of numbers: bounded, with clear errors.

The first bytes of a file tell its format, not its name. Only the columns that are needed are read.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import csv

from files import BadData

Say = Callable[[str], Any]

_PARQUET, _NUL, _BOM = b"PAR1", b"\0", b"\xef\xbb\xbf"
_HEAD_BYTES = 65_536
# What Arrow raises for a file that it cannot read: damaged bytes are OSError in the middle of a Parquet file.
_DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError)
_BLOCK_BYTES = 8 * 1024**2
_SAY_EVERY_ROWS = 2_000_000
_DELIMITERS = ",;\t|"
_NAMES_SHOWN = 30
# Arrow's message for a value; with one thread it counts the lines.
_NOT_A_NUMBER = re.compile(
    r"In CSV column #(?P<column>\d+): Row #(?P<line>\d+): .* to double: invalid value '(?P<value>.*)'",
    re.DOTALL,
)


@dataclass(frozen=True)
class Table:
    """The rows of a file in its order."""

    rows: int
    numbers: dict[str, NDArray[np.float64]]  # column → (rows,), NaN where a value is missing
    texts: dict[str, Any]  # column → Arrow array (rows,): strings, or the type that it has in Parquet
    is_parquet: bool
    notes: list[str]  # what was done to the data, for people


def read(path: Path, numbers: Sequence[str], texts: Sequence[str], *, rows_max: int, say: Say) -> Table:
    """Read the columns `numbers` as numbers and `texts` unchanged.

    Raises BadData for a file that does not exist, is empty, is not a table, lacks a column, has text among
    its numbers, or has more than `rows_max` rows.
    """
    source: _Csv | _Parquet = _open(path)
    _check_columns(path, source.names, [*numbers, *texts])
    batches, rows, report_at = [], 0, _SAY_EVERY_ROWS
    try:
        for batch in source.batches(numbers, texts):
            rows += batch.num_rows
            if rows > rows_max:
                raise BadData(
                    f"{path} has more than {rows_max} rows, which are held in memory: take fewer "
                    f"(every n-th row, or one file a month), or raise --rows-max (about "
                    f"{150 + 50 * len(numbers)} bytes of memory a row)"
                )
            if rows >= report_at:
                say(f"reading {path.name}: {rows} rows")
                report_at += _SAY_EVERY_ROWS
            batches.append(batch)
        table = pa.Table.from_batches(batches) if rows else None
        if table is not None:
            for name in texts:  # Arrow believes that the texts in a Parquet file are UTF-8
                table.column(name).validate(full=True)
    except _DAMAGED as error:
        raise BadData(source.blame(error)) from error
    if table is None:
        raise BadData(f"{path} has a header but no rows")
    return Table(
        rows=rows,
        numbers={name: _numbers(path, name, table.column(name)) for name in numbers},
        texts={name: table.column(name) for name in texts},
        is_parquet=isinstance(source, _Parquet),
        notes=source.notes,
    )


def _open(path: Path) -> "_Csv | _Parquet":
    """The file as CSV or Parquet. Raises BadData for a file that cannot be opened or is neither."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise BadData(f"{path}: {error.strerror}") from error
    if not head.removeprefix(_BOM).strip():
        raise BadData(f"{path} is empty")
    if head.startswith(_PARQUET):
        return _Parquet(path)
    for magic, what in ((b"PK", "an Excel or zip file"), (b"\x1f\x8b", "compressed"), (b"BZh", "compressed")):
        if head.startswith(magic):
            raise BadData(f"{path} is {what}: a CSV file (UTF-8) or a Parquet file is needed")
    if _NUL in head:
        raise BadData(f"{path} is binary, or text in UTF-16: a CSV file (UTF-8) or a Parquet file is needed")
    return _Csv(path, head)


class _Parquet:
    """A Parquet file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        try:
            self._file = pq.ParquetFile(path)
        except _DAMAGED as error:
            raise BadData(f"{path} begins like a Parquet file, but cannot be read: {error}") from error
        self.names: list[str] = list(self._file.schema_arrow.names)

    def batches(self, numbers: Sequence[str], texts: Sequence[str]) -> Iterator[Any]:
        """The file's batches of rows. Raises ArrowException or OSError for a damaged file."""
        yield from self._file.iter_batches(columns=list(dict.fromkeys([*numbers, *texts])))

    def blame(self, error: Exception) -> str:
        """The error for people."""
        return f"{self.path} is damaged, take an intact copy: {error}"


class _Csv:
    """A CSV file with a header; the delimiter is the one of , ; | and tab that the header has most often."""

    def __init__(self, path: Path, head: bytes) -> None:
        self.path = path
        self.notes: list[str] = []
        line = head.removeprefix(_BOM).splitlines()[0]
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadData(_not_utf8(path, "its first line")) from error
        self._delimiter = max(_DELIMITERS, key=text.count)
        self._decimal = "."
        try:
            self.names: list[str] = self._opened([], {}).schema.names
        except UnicodeDecodeError as error:
            raise BadData(_not_utf8(path, "its header")) from error

    def batches(self, numbers: Sequence[str], texts: Sequence[str]) -> Iterator[Any]:
        """Batches of rows. Raises ArrowException for a value that is not a number or for a ragged row."""
        types = {name: pa.float64() for name in numbers} | {name: pa.string() for name in texts}
        self._decimal = self._decimal_point(numbers)
        if self._decimal == ",":
            self.notes.append("numbers are written with a decimal comma")
        return iter(self._opened(list(types), types))

    def blame(self, error: Exception) -> str:
        """The error for people: the first value that is not a number, and its line."""
        if "UTF8" in str(error) or "\N{REPLACEMENT CHARACTER}" in str(error):
            return _not_utf8(self.path, "a column that is asked for")
        wrong = _NOT_A_NUMBER.fullmatch(str(error))
        if wrong is None:
            return f"{self.path} is not a valid CSV file with the delimiter {self._delimiter!r}: {error}"
        name = self.names[int(wrong["column"])]
        return (
            f"{self.path}, line {wrong['line']}: {name} is {wrong['value'][:80]!r}, not a number. "
            "Leave missing values empty (or NaN, NA, null); write true and false as "
            f"1 and 0; if {name} is not a signal, leave it out of --signals and --conditions"
        )

    def _decimal_point(self, numbers: Sequence[str]) -> str:
        """The decimal point: a comma if the first block has such numbers and the delimiter is not a comma."""
        if self._delimiter == ",":
            return "."
        try:
            batch = next(iter(self._opened(list(numbers), {name: pa.string() for name in numbers})), None)
        except pa.ArrowInvalid:
            return "."
        columns = [] if batch is None else batch.columns
        matches = [pc.any(pc.match_substring_regex(column, r"^\s*[-+]?\d*,\d+\s*$")) for column in columns]
        return "," if any(match.as_py() for match in matches) else "."

    def _opened(self, columns: list[str], types: dict[str, Any]) -> Any:
        """A reader of `columns`, or of all columns if empty. Raises BadData when there is no first row."""
        try:
            return csv.open_csv(
                self.path,
                csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
                csv.ParseOptions(delimiter=self._delimiter, newlines_in_values=False),
                csv.ConvertOptions(
                    include_columns=columns,
                    column_types=types,
                    strings_can_be_null=True,
                    decimal_point=self._decimal,
                ),
            )
        except pa.ArrowInvalid as error:
            if columns:
                raise
            raise BadData(f"{self.path} is not a CSV file: {error}") from error
        except UnicodeDecodeError as error:
            raise BadData(_not_utf8(self.path, "its first line")) from error


def _numbers(path: Path, name: str, column: Any) -> NDArray[np.float64]:
    """An Arrow column as (n,) float64. Raises BadData if it does not hold numbers."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    try:
        values = pc.cast(column, pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        what = f"its type is {kind}"
        if text := re.search("Failed to parse string: '(.*)' as", str(error), re.DOTALL):
            row = pc.index(column, pa.scalar(text[1], column.type)).as_py()
            what = f"row {row + 1} has {text[1][:80]!r}"
        raise BadData(f"{path}: {name} must hold numbers, but {what}") from error
    return np.asarray(values.to_numpy(), np.float64)


def _check_columns(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Raises BadData for columns that are missing (with similar names) or that the file has twice."""
    if twice := [name for name in wanted if names.count(name) > 1]:
        raise BadData(f"{path} has more than one column {', '.join(dict.fromkeys(twice))}: rename one")
    missing = [name for name in dict.fromkeys(wanted) if name not in names]
    if not missing:
        return
    lower = {name.strip().lower(): name for name in names}
    hints = []
    for name in missing:
        near = difflib.get_close_matches(name.strip().lower(), lower, n=3, cutoff=0.6)
        hints.append(name + (f" (is it {' or '.join(lower[match] for match in near)}?)" if near else ""))
    shown = ", ".join(names[:_NAMES_SHOWN]) + (", …" if len(names) > _NAMES_SHOWN else "")
    header = ""
    with suppress(ValueError):
        _ = [float(name) for name in names]
        header = "; all of these are numbers: is the header line missing?"
    raise BadData(f"{path} has no column {', '.join(hints)}. Its columns are {shown}{header}")


def _not_utf8(path: Path, what: str) -> str:
    return f"{path}: {what} is not UTF-8: convert it: `iconv -f latin1 -t utf8 {path.name} > utf8.csv`"
