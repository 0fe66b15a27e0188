"""A column of times in seconds, from ISO 8601, from s, ms, µs or ns since 1970, or from plain numbers."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from files import BadData

Seconds = NDArray[np.float64]
Kind = Literal["ISO 8601", "s since 1970", "ms since 1970", "µs since 1970", "ns since 1970", "plain seconds"]

# (least size, seconds) of a number of this kind: a number of at least this size is a time since 1970 in that
# unit (years 1973 to 5138); smaller numbers are seconds from an unknown start.
_NUMBERS: dict[Kind, tuple[float, float]] = {
    "ns since 1970": (1e17, 1e-9),
    "µs since 1970": (1e14, 1e-6),
    "ms since 1970": (1e11, 1e-3),
    "s since 1970": (1e8, 1.0),
    "plain seconds": (0.0, 1.0),
}


@dataclass(frozen=True)
class Times:
    """A column of times."""

    seconds: Seconds  # (n,) since 1970 or another start; NaN where a time is missing
    kind: Kind  # how the file writes them
    zoned: bool = False  # ISO 8601 with a time zone

    def value(self, text: str) -> float:
        """`text`, written like the column, in seconds. Raises ValueError."""
        if self.kind == "ISO 8601":
            return _moment(text, self.zoned)
        return float(text) * _NUMBERS[self.kind][1]

    def shown(self, second: float) -> str:
        """A time as text for people."""
        if self.kind == "plain seconds":
            return f"{second:g} s"
        return (
            datetime.fromtimestamp(second, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
        )


def read(name: str, column: Any) -> Times:
    """The times of an Arrow column. Raises BadData naming the first value that is not a time."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_date(kind):
        column, kind = column.cast(pa.timestamp("s")), pa.timestamp("s")
    if pa.types.is_timestamp(kind):
        return Times(_seconds(column), "ISO 8601", kind.tz is not None)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _numbers(name, np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), np.float64))
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise BadData(f"{name} cannot be the column of times: its type is {kind}")
    try:
        return _numbers(name, np.asarray(column.cast(pa.float64()).to_numpy(), np.float64))
    except pa.ArrowInvalid:
        return _texts(name, column)


def _numbers(name: str, values: Seconds) -> Times:
    known = np.abs(values[np.isfinite(values)])
    if not len(known):
        raise BadData(f"{name}: no row has a time")
    size = float(np.median(known))
    kind, unit_s = next((kind, unit_s) for kind, (least, unit_s) in _NUMBERS.items() if size >= least)
    return Times(np.where(np.isfinite(values), values, np.nan) * unit_s, kind)


def _texts(name: str, column: Any) -> Times:
    """ISO 8601 texts, all with a time zone or all without."""
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            return Times(_seconds(column.cast(kind)), "ISO 8601", kind.tz is not None)
        except pa.ArrowInvalid:
            continue
    # ISO 8601 in a form that Arrow does not read, or a value that is not a time.
    seconds, zoned = np.full(len(column), np.nan), None
    for row, text in enumerate(column.to_pylist()):
        if text is None:
            continue
        try:
            if zoned is None:
                zoned = datetime.fromisoformat(text.strip()).tzinfo is not None
            seconds[row] = _moment(text, zoned)
        except ValueError as error:
            raise BadData(
                f"{name}: {text[:60]!r} (row {row + 1}) is not a time: {error}. Write all times as "
                "ISO 8601 (2026-03-01T08:30:00; with +01:00 for a zone, all or none), or as numbers"
            ) from error
    return Times(seconds, "ISO 8601", bool(zoned))


def _moment(text: str, zoned: bool) -> float:
    """`text` in seconds since 1970; without a zone as UTC, only differences count. Raises ValueError."""
    moment = datetime.fromisoformat(text.strip())
    if (moment.tzinfo is not None) != zoned:
        raise ValueError("some times have a zone, others have none")
    return (moment if zoned else moment.replace(tzinfo=UTC)).timestamp()


def _seconds(column: Any) -> Seconds:
    """An Arrow column of time stamps in seconds since 1970 (n,)."""
    whole = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64())
    values = whole.cast(pa.float64(), safe=False).to_numpy() * 1e-6  # null is NaN
    if np.isnan(values).all():
        raise BadData("no row has a time")
    return np.asarray(values, np.float64)
