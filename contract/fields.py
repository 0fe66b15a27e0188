"""Reading JSON and TOML documents into dataclasses by the types of their fields; errors name the field."""

import math
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import partial
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")
Reader = Callable[[Any], Any]


def read(cls: type[T], document: Any) -> T:
    """An instance of a dataclass from a document that has a value for every field and no other.

    Raises ValueError that names the fields that are missing, unknown or of a wrong type.
    """
    hints, values = get_type_hints(cls), _exactly(dict, document)
    if missing := sorted(hints.keys() - values.keys()):
        raise ValueError(f"missing: {', '.join(missing)}")
    if unknown := sorted(values.keys() - hints.keys()):
        raise ValueError(f"unknown: {', '.join(unknown)}; known are {', '.join(hints)}")
    fields = {}
    for name, hint in hints.items():
        try:
            fields[name] = _reader(hint)(values[name])
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"{name}: {error}") from error
    return cls(**fields)


def _reader(hint: Any) -> Reader:
    """A function that turns a document's value into a field of this type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _SIMPLE:
        return _SIMPLE[hint]
    if isinstance(hint, type) and is_dataclass(hint):
        return partial(read, hint)
    if origin is UnionType:  # X | None
        some = _reader(arguments[0])
        return lambda value: None if value is None else some(value)
    if origin is Mapping:
        key, item = arguments[0], _reader(arguments[1])
        return lambda value: {key(name): item(each) for name, each in _exactly(dict, value).items()}
    if origin is tuple:
        length = None if arguments[1] is ... else len(arguments)
        return partial(_listed, _reader(arguments[0]), length)
    return partial(_exactly, hint)


def _exactly(kind: type, value: Any) -> Any:
    """The value, which must be of exactly this type: neither a bool nor a float counts as an integer."""
    if type(value) is not kind:
        raise TypeError(f"must be {kind.__name__}, not {value!r:.80}")
    return value


def _number(value: Any) -> float:
    """A float; null, which stands for a number that is not finite, becomes NaN."""
    if value is None:
        return math.nan
    return float(value if type(value) is int else _exactly(float, value))


def _listed(item: Reader, length: int | None, value: Any) -> tuple[Any, ...]:
    """A list as a tuple; `length` is the required number of items."""
    items = tuple(map(item, _exactly(list, value)))
    if length is not None and len(items) != length:
        raise ValueError(f"{len(items)} items, not {length}")
    return items


_SIMPLE: dict[Any, Reader] = {float: _number, Any: lambda value: value}
