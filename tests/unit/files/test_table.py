"""Reading somebody's file: what is read, and what is said where it cannot be."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from files import BadData
from files.table import Table, read

Read = Callable[..., Table]


def test_columns_are_read_as_numbers(table: Read):
    """Other columns do not matter; what is empty, NaN, NA or null is missing."""
    result = table("a,b,c\n1,2.5,x\n,NaN,\nNA,-1e3,y\n")
    np.testing.assert_array_equal(result.numbers["a"], [1, np.nan, np.nan])
    np.testing.assert_array_equal(result.numbers["b"], [2.5, np.nan, -1000])
    assert (result.rows, result.notes) == (3, [])


@pytest.mark.parametrize(
    "content",
    ["a;b;c\n1,5;2;x\n", "a\tb\n1.5\t2\n", "a|b\n1.5|2\n", "\ufeffa,b\n1.5,2\n", 'a,b,c\r\n1.5,2,"x,y"\r\n'],
)
def test_the_delimiter_is_found(table: Read, content: str):
    """, ; | and tab; a decimal comma where another one stands between columns; what Windows adds."""
    result = table(content)
    assert (result.numbers["a"].tolist(), result.numbers["b"].tolist()) == ([1.5], [2.0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("a,b\n", "has a header but no rows"),
        (bytes(range(256)), "is binary"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"PK\3\4....", "an Excel or zip file"),
        (b"\x1f\x8b....", "compressed"),
        (b"PAR1 and nothing", "cannot be read"),
        ("ä,a,b\n1,2,3\n".encode("latin1"), "first line is not UTF-8.*iconv"),
        ("a,b\n1,ä\n".encode("latin1"), "is not UTF-8"),
        ("a,b\n1,2\n3\n", "Row #3: Expected 2 columns, got 1"),
        ("a,a,b\n1,2,3\n", "more than one column a"),
        ("a,b\n1,2\n3,oops\n", "line 3: b is 'oops', not a number"),
        ("a,b\ntrue,2\n", "line 2: a is 'true'.*1 and 0"),
        ('a,b\n"1,234",2\n', "line 2: a is '1,234'"),
        ("a;b\n1,5;x\n", "line 2: b is 'x'"),
        ("1,2\n3,4\n", "no column a, b.*header line missing"),
        ("A,bb,other\n1,2,3\n", r"no column a \(is it A\?\), b.*columns are A, bb, other"),
        ("a,b\n" + "1,2\n" * 1001, "more than 1000 rows.*--rows-max"),
    ],
)
def test_what_cannot_be_read_is_named(table: Read, content: str | bytes, message: str):
    """The message says which file, where in it, and what to change."""
    with pytest.raises(BadData, match=f"(?s)data.csv.*{message}"):
        table(content)


def test_text_far_below_is_found_by_its_line(table: Read, monkeypatch: pytest.MonkeyPatch):
    """A value that the reader meets in a later block than the first has its line, too."""
    monkeypatch.setattr("files.table._BLOCK_BYTES", 1000)
    lines = 500
    with pytest.raises(BadData, match=f"line {lines + 2}: b is 'x'"):
        table("a,b\n" + "1234567890,1234567890\n" * lines + "1,x\n", most=lines + 1)


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    """The operating system's reason is passed on."""
    with pytest.raises(BadData, match=r"nothing\.csv: No such file"):
        read(tmp_path / "nothing.csv", ["a"], [], rows_max=10, say=print)


def test_parquet_is_read_whatever_its_name(tmp_path: Path):
    """Numbers, booleans and numbers as text are read; a list is refused by its type."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "data.csv"
    columns = {"a": [1, None], "b": [True, False], "c": ["1.5", None], "d": [[1], [2]], "e": ["x", "2"]}
    pq.write_table(pa.table(columns), path)
    result = read(path, ["a", "b", "c"], ["e"], rows_max=2, say=print)
    np.testing.assert_array_equal(
        np.stack(list(result.numbers.values())), [[1, np.nan], [1, 0], [1.5, np.nan]]
    )
    assert result.is_parquet
    with pytest.raises(BadData, match="d must hold numbers, but its type is list"):
        read(path, ["d"], [], rows_max=2, say=print)
    with pytest.raises(BadData, match="e must hold numbers, but row 1 has 'x'"):
        read(path, ["e"], [], rows_max=2, say=print)
    with pytest.raises(BadData, match="more than 1 rows"):
        read(path, ["a"], [], rows_max=1, say=print)
