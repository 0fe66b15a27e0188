"""Reading JSON documents into dataclasses: each field has one type, and errors name the field."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from contract.errors import Malformed

Reader = Callable[[Any], Any]


def read(cls: type, readers: Mapping[str, Reader], document: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a dataclass's fields, each read by its reader.

    Raises Malformed (`malformed_manifest`) naming the fields that are missing, unknown or of a wrong type.
    """
    names = {item.name for item in fields(cls)}
    if missing := sorted(names - document.keys()):
        raise Malformed("malformed_manifest", f"missing: {', '.join(missing)}")
    if unknown := sorted(document.keys() - names):
        raise Malformed("malformed_manifest", f"unknown: {', '.join(unknown)}")
    values: dict[str, Any] = {}
    for name in names:
        try:
            values[name] = readers[name](document[name])
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise Malformed("malformed_manifest", f"{name}: {error}") from error
    return values


def exactly(kind: type) -> Reader:
    """A reader of values of exactly one type: neither a bool nor a float counts as an integer."""

    def reader(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"{str(value)[:80]!r} is not of type {kind.__name__}")
        return value

    return reader


def record(cls: type, readers: Mapping[str, Reader]) -> Reader:
    """A reader of a dataclass whose fields are read by `readers`."""
    return lambda value: cls(**read(cls, readers, exactly(dict)(value)))


def number(value: Any) -> float:
    """A float; null, which stands for a number that is not finite, becomes NaN."""
    if value is None:
        return math.nan
    if type(value) not in {int, float}:
        raise TypeError(f"{str(value)[:80]!r} is not a number")
    return float(value)


def optional(reader: Reader) -> Reader:
    """A reader of null, or of what `reader` reads."""
    return lambda value: None if value is None else reader(value)


def listed(reader: Reader, length: int | None = None) -> Reader:
    """A reader of a list as a tuple, each item read by `reader`; `length` is the required number of items."""

    def read_list(value: Any) -> tuple[Any, ...]:
        items = tuple(map(reader, exactly(list)(value)))
        if length is not None and len(items) != length:
            raise ValueError(f"{len(items)} items, not {length}")
        return items

    return read_list
