"""A CSV or Parquet file as columns of numbers, bounded, with a clear word about what cannot be read.

What a file is, its first bytes say, not its name. Only the columns that are asked for are read.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from files.errors import BadData

Say = Callable[[str], Any]

_PARQUET, _NUL, _BOM = b"PAR1", b"\0", b"\xef\xbb\xbf"
_HEAD_BYTES = 65_536
_BLOCK_BYTES = 8 * 1024**2
_SAY_EVERY_ROWS = 2_000_000
_DELIMITERS = ",;\t|"
_NAMES_SHOWN = 30
_INSTALL = "pip install -c constraints.txt -e '.[trainer,files]'"


@dataclass(frozen=True)
class Table:
    """n rows in the order of the file.

    `numbers`: column to (n,) float64, NaN where nothing stands. `texts`: column to an Arrow array (n,), of
    strings or, from Parquet, of whatever type it has there. `notes`: what was done to the data, for people.
    """

    rows: int
    numbers: dict[str, NDArray[np.float64]]
    texts: dict[str, Any]
    is_parquet: bool
    notes: list[str]


def read(path: Path, numbers: Sequence[str], texts: Sequence[str], *, rows_max: int, say: Say) -> Table:
    """The columns `numbers` as numbers and `texts` as they are.

    Raises BadData for a file that is not there, empty, no table, without one of the columns, with text among
    its numbers, or of more than `rows_max` rows.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        raise BadData(f"reading files needs pyarrow: {_INSTALL}") from error
    source: _Csv | _Parquet = _open(path)
    _check_columns(path, source.names, [*numbers, *texts])
    batches, rows, said = [], 0, _SAY_EVERY_ROWS
    try:
        for batch in source.batches(numbers, texts):
            rows += batch.num_rows
            if rows > rows_max:
                raise BadData(
                    f"{path} has more than {rows_max} rows, which are held in memory: take fewer "
                    f"(one row of several, or one file a month), or say --rows-max (about "
                    f"{150 + 50 * len(numbers)} bytes a row)"
                )
            if rows >= said:
                say(f"reading {path.name}: {rows} rows")
                said += _SAY_EVERY_ROWS
            batches.append(batch)
    except pa.ArrowInvalid as error:
        raise BadData(source.blame(error, numbers)) from error
    if not rows:
        raise BadData(f"{path} has no rows, only the names of columns")
    table = pa.Table.from_batches(batches)
    return Table(
        rows=rows,
        numbers={name: _numbers(path, name, table.column(name)) for name in numbers},
        texts={name: table.column(name) for name in texts},
        is_parquet=isinstance(source, _Parquet),
        notes=source.notes,
    )


def _open(path: Path) -> "_Csv | _Parquet":
    """Raises BadData for a file that cannot be opened or is none of both."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise BadData(f"{path}: {error.strerror}") from error
    if not head.strip():
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
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path = path
        self.notes: list[str] = []
        try:
            self._file = pq.ParquetFile(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise BadData(f"{path} begins like a Parquet file, but cannot be read: {error}") from error
        self.names: list[str] = list(self._file.schema_arrow.names)

    def batches(self, numbers: Sequence[str], texts: Sequence[str]) -> Iterator[Any]:
        """Raises ArrowInvalid for a damaged file."""
        yield from self._file.iter_batches(columns=list(dict.fromkeys([*numbers, *texts])))

    def blame(self, error: Exception, numbers: Sequence[str]) -> str:
        """What is wrong, for people."""
        return f"{self.path} is damaged: {error}"


class _Csv:
    """A CSV file with a header; its delimiter is whatever of , ; | and tab the header has most of."""

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
        self.names = self._opened([], {}).schema.names

    def batches(self, numbers: Sequence[str], texts: Sequence[str]) -> Iterator[Any]:
        """Raises ArrowInvalid for a value that is no number, and for a row with too few or many columns."""
        import pyarrow as pa

        types = {name: pa.float64() for name in numbers} | {name: pa.string() for name in texts}
        self._decimal = self._decimal_point(numbers)
        if self._decimal == ",":
            self.notes.append("numbers are written with a decimal comma")
        return iter(self._opened(list(types), types))

    def blame(self, error: Exception, numbers: Sequence[str]) -> str:
        """What is wrong, for people: the first value that is no number, and its line."""
        import pyarrow as pa

        row = 0
        try:
            for batch in self._opened(list(numbers), {name: pa.string() for name in numbers}):
                for name in numbers:
                    if (wrong := no_number(batch.column(name), self._decimal)) is not None:
                        return (
                            f"{self.path}, line {row + wrong[0] + 2}: {name} is {wrong[1]!r}, not a number. "
                            "Leave a value that is missing empty (or NaN, NA, null); write true and false as "
                            f"1 and 0; if {name} is no signal, leave it out of --signals and --conditions"
                        )
                row += batch.num_rows
        except pa.ArrowInvalid as as_text:
            error = as_text
        if "UTF8" in str(error):
            return _not_utf8(self.path, "a column that is asked for")
        return f"{self.path} is no sound CSV file with the delimiter {self._delimiter!r}: {error}"

    def _decimal_point(self, numbers: Sequence[str]) -> str:
        """A comma where numbers of the first block are written so, which a , between columns rules out."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self._delimiter == ",":
            return "."
        try:
            batch = next(iter(self._opened(list(numbers), {name: pa.string() for name in numbers})), None)
        except pa.ArrowInvalid:
            return "."
        columns = [] if batch is None else batch.columns
        found = [pc.any(pc.match_substring_regex(column, r"^\s*[-+]?\d*,\d+\s*$")) for column in columns]
        return "," if any(one.as_py() for one in found) else "."

    def _opened(self, columns: list[str], types: dict[str, Any]) -> Any:
        """A reader of some columns, all without any. Raises BadData where there is no first row."""
        import pyarrow as pa
        from pyarrow import csv

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
            raise BadData(f"{self.path} is no CSV file: {error}") from error
        except UnicodeDecodeError as error:
            raise BadData(_not_utf8(self.path, "its first line")) from error


def no_number(column: Any, decimal: str = ".") -> tuple[int, str] | None:
    """(place, text) of the first of an Arrow column of strings that is no number; None where all are."""
    for place, text in enumerate(column.to_pylist()):
        if text is not None:
            try:
                float(text.replace(decimal, ".") if decimal != "." else text)
            except ValueError:
                return place, text[:80]
    return None


def _numbers(path: Path, name: str, column: Any) -> NDArray[np.float64]:
    """An Arrow column as (n,) float64. Raises BadData for one of another kind than numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    try:
        values = pc.cast(column, pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        wrong = no_number(column) if pa.types.is_string(column.type) else None
        what = f"row {wrong[0] + 1} has {wrong[1]!r}" if wrong else f"its type is {kind}"
        raise BadData(f"{path}: {name} must be numbers, {what}") from error
    return np.asarray(values.to_numpy(), np.float64)


def _check_columns(path: Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Raises BadData for columns that are not there, or there twice, with those that have similar names."""
    if twice := [name for name in wanted if names.count(name) > 1]:
        raise BadData(f"{path} has more than one column {', '.join(dict.fromkeys(twice))}: rename one")
    missing = [name for name in dict.fromkeys(wanted) if name not in names]
    if not missing:
        return
    lower = {name.strip().lower(): name for name in names}
    told = []
    for name in missing:
        near = difflib.get_close_matches(name.strip().lower(), lower, n=3, cutoff=0.6)
        told.append(name + (f" (is it {' or '.join(lower[match] for match in near)}?)" if near else ""))
    shown = ", ".join(names[:_NAMES_SHOWN]) + (", …" if len(names) > _NAMES_SHOWN else "")
    header = ""
    with suppress(ValueError):
        _ = [float(name) for name in names]
        header = "; all of these are numbers: is the line with the columns' names missing?"
    raise BadData(f"{path} has no column {', '.join(told)}. Its columns are {shown}{header}")


def _not_utf8(path: Path, what: str) -> str:
    return f"{path}: {what} is not UTF-8: convert it: `iconv -f latin1 -t utf8 {path.name} > utf8.csv`"
