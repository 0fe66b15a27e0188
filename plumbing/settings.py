"""The settings of a process: a frozen dataclass, filled from flags, then the environment, then defaults.

A process does not start with a setting that is unknown, missing or malformed, and names it. After the start
nothing reads the environment.
"""

import argparse
import dataclasses
import math
import operator
import os
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

S = TypeVar("S")

_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


class SettingsError(ValueError):
    """A setting is unknown, missing or malformed; the message names it and says what is expected."""


def setting(
    help: str,
    *,
    default: Any = dataclasses.MISSING,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
) -> Any:
    """A field of a settings dataclass; required if it has no default. Its name ends with its unit.

    A name that Python keeps to itself ends with `_` (`from_`), which its flag and its variable do not have.

    `load` refuses a value that is less than `least`, not above `above`, or more than `most`.
    """
    bounds = (("at least", least, operator.ge), ("above", above, operator.gt), ("at most", most, operator.le))
    return dataclasses.field(default=default, metadata={"help": help, "bounds": bounds})


def load(
    cls: type[S],
    *,
    prefix: str,
    argv: Sequence[str],
    environ: Mapping[str, str] = os.environ,
    description: str | None = None,
    command: str | None = None,
) -> S:
    """Fill `cls`: flag `--kafka-bootstrap`, else environment `<PREFIX>_KAFKA_BOOTSTRAP`, else the default.

    Raises SettingsError, also for an environment variable that has the prefix and is not a setting. `--help`
    prints every setting and exits; it begins with `command`, by default `python -m <prefix>`.
    """
    hints = typing.get_type_hints(cls)
    fields = {f"{prefix}_{field.name.strip('_').upper()}": field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    parser = argparse.ArgumentParser(
        prog=command or f"python -m {prefix.lower()}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for variable, field in fields.items():
        _add_flag(parser, field, hints[field.name], variable)
    flags = vars(parser.parse_args(list(argv)))
    unknown = sorted(name for name in environ if name.startswith(prefix + "_") and name not in fields)
    if unknown:
        raise SettingsError(f"{', '.join(unknown)}: no such setting; known are {', '.join(sorted(fields))}")
    values: dict[str, Any] = {}
    for variable, field in fields.items():
        text, where = flags[field.name], _flag(field)
        if text is None:
            text, where = environ.get(variable), variable
        if text is not None:
            values[field.name] = value = _parse(text, hints[field.name], where)
            for words, bound, holds in field.metadata["bounds"]:
                if None not in (value, bound) and not holds(value, bound):
                    raise SettingsError(f"{where} {text} must be {words} {bound}")
        elif field.default is dataclasses.MISSING:
            raise SettingsError(f"{_flag(field)} or {variable} must be set: {field.metadata['help']}")
    try:
        return cls(**values)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _flag(field: dataclasses.Field[Any]) -> str:
    return "--" + field.name.strip("_").replace("_", "-")


def _parse(text: str, hint: Any, where: str) -> Any:
    """`text` as a value of type `hint`. Raises SettingsError that names `where`, its flag or variable."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        inner = next(arg for arg in args if arg is not type(None))
        return None if text == "" else _parse(text, inner, where)
    if origin is typing.Literal:
        if text not in args:
            raise SettingsError(f"{where}: {text!r} is not one of {', '.join(args)}")
        return text
    if origin is tuple:
        return tuple(_parse(part.strip(), args[0], where) for part in text.split(",") if part.strip())
    if hint is bool:
        if text.lower() not in _TRUE | _FALSE:
            raise SettingsError(f"{where}: {text!r} is neither true nor false")
        return text.lower() in _TRUE
    try:
        value = hint(text)
    except ValueError as error:
        kind = "a whole number" if hint is int else "a number"
        raise SettingsError(f"{where}: {text!r} is not {kind}") from error
    if hint is float and not math.isfinite(value):  # limits and comparisons fail with NaN and infinity
        raise SettingsError(f"{where}: {text!r} is not a finite number")
    return value


def address(text: str, where: str) -> tuple[str, int]:
    """(host, port) of `host:port` or `[IPv6]:port`. Raises SettingsError that names `where`."""
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host
    if "://" in text:
        raise SettingsError(f"{where}: {text!r} is a URL; give host:port alone")
    if ":" in bare and bare == host:
        raise SettingsError(
            f"{where}: {text!r} is not host:port; an IPv6 address stands in brackets: [::1]:1883"
        )
    if not bare or not port.isdigit() or not 0 < int(port) < 65536:
        raise SettingsError(f"{where}: {text!r} is not host:port")
    return bare, int(port)


def addresses(texts: Sequence[str], where: str) -> tuple[tuple[str, int], ...]:
    """(host, port) of each text; at least one. Raises SettingsError that names `where`."""
    if not texts:
        raise SettingsError(f"{where}: at least one host:port is needed")
    return tuple(address(text, where) for text in texts)


def _add_flag(
    parser: argparse.ArgumentParser, field: dataclasses.Field[Any], hint: Any, variable: str
) -> None:
    default = field.default
    if isinstance(default, tuple):
        default = ",".join(map(str, default)) or None
    shown = (
        "required" if default is dataclasses.MISSING else f"default {'none' if default is None else default}"
    )
    text = f"{field.metadata['help']} [{variable}; {shown}]".replace("%", "%%")
    metavar = "|".join(typing.get_args(hint)) if typing.get_origin(hint) is typing.Literal else "VALUE"
    # `--peers` alone means true; `--peers false` is possible too.
    bare: dict[str, Any] = {"nargs": "?", "const": "true"} if hint is bool else {}
    parser.add_argument(_flag(field), dest=field.name, metavar=metavar, help=text, **bare)
