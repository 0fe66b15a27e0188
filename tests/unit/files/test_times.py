"""Columns of times."""

from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from files import BadData
from files.times import Times, read

NEW_YEAR_S = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def _read(values: list[Any], kind: Any = None) -> Times:
    return read("when", pa.chunked_array([pa.array(values, kind)]))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["2026-01-01T00:00:00", "2026-01-01 00:00:01.5"], "ISO 8601"),
        (["2026-01-01T00:00:00Z", "2026-01-01T02:00:01.5+02:00"], "ISO 8601"),
        (["2026-W01-4T00:00:00", "2026-01-01T00:00:01.5"], "ISO 8601"),
        ([datetime(2026, 1, 1), datetime(2026, 1, 1, 0, 0, 1, 500_000)], "ISO 8601"),
        (["1767225600", "1767225601.5"], "s since 1970"),
        ([1767225600000, 1767225601500], "ms since 1970"),
        ([1767225600000000, 1767225601500000], "µs since 1970"),
        ([1767225600000000000, 1767225601500000000], "ns since 1970"),
    ],
)
def test_times_are_understood(values: list[Any], kind: str):
    """As text or as Parquet's own types, with or without a zone: seconds since 1970."""
    result = _read(values)
    assert result.kind == kind
    np.testing.assert_allclose(result.seconds - NEW_YEAR_S, [0, 1.5], atol=1e-5)
    assert result.shown(result.seconds[0]) == "2026-01-01 00:00:00"


def test_small_numbers_count_from_a_start_of_their_own():
    """Whoever counts seconds of running time can do so."""
    result = _read(["0", "2.5"])
    assert (result.kind, result.seconds.tolist(), result.shown(2.5)) == ("plain seconds", [0, 2.5], "2.5 s")


def test_a_missing_time_is_not_a_number():
    """The row is then left out by whoever orders the rows."""
    for values in (["2026-01-01", None], [1.0, None], [date(2026, 1, 1), None]):
        assert np.isnan(_read(values).seconds).tolist() == [False, True]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["2026-01-01", "01.02.2026"], r"when: '01.02.2026' \(row 2\) is not a time.*ISO 8601"),
        (["2026-01-01T00:00:00Z", "2026-01-01T00:00:00"], "row 2.*some times have a zone, others have none"),
        (["7", "2026-01-01"], r"'7' \(row 1\) is not a time"),
        ([[1]], "type is list"),
        ([None, None], "no row has a time"),
    ],
)
def test_what_is_no_time_is_named(values: list[Any], message: str):
    """The first value that is none, and how times can be written."""
    with pytest.raises(BadData, match=message):
        _read(values, pa.string() if values[0] is None else None)


def test_a_value_is_read_as_the_column_is():
    """--train-until speaks the language of the file."""
    assert _read(["2026-01-01", "2026-01-02"]).value("2026-01-01") == NEW_YEAR_S
    assert _read([1767225600000]).value("1767225600000") == NEW_YEAR_S
    assert _read([1.0, 2.0]).value("7") == 7
    with pytest.raises(ValueError, match="Invalid isoformat"):
        _read(["2026-01-01"]).value("soon")
