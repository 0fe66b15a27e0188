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
from pathlib import Path
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
    command = command or f"python -m {prefix.lower()}"
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    flags = vars(_parser(fields, hints, prefix, description, command).parse_args(list(argv)))
    names = {_variable(prefix, field.name): field for field in fields}
    unknown = sorted(name for name in environ if name.startswith(prefix + "_") and name not in names)
    if unknown:
        raise SettingsError(f"{', '.join(unknown)}: no such setting; known are {', '.join(sorted(names))}")
    values: dict[str, Any] = {}
    for variable, field in names.items():
        text = flags[field.name] if flags[field.name] is not None else environ.get(variable)
        where = flag(field.name) if flags[field.name] is not None else variable
        if text is not None:
            values[field.name] = value = parse(text, hints[field.name], where)
            for words, bound, holds in field.metadata["bounds"]:
                if None not in (value, bound) and not holds(value, bound):
                    raise SettingsError(f"{where} {text} must be {words} {bound}")
        elif field.default is dataclasses.MISSING:
            raise SettingsError(f"{flag(field.name)} or {variable} must be set: {field.metadata['help']}")
    try:
        return cls(**values)
    except SettingsError:
        raise
    except ValueError as error:
        raise SettingsError(str(error)) from error


def flag(name: str) -> str:
    """The flag of a setting on the command line."""
    return "--" + name.replace("_", "-")


def parse(text: str, hint: Any, where: str) -> Any:
    """`text` as a value of type `hint`. Raises SettingsError that names `where`, its flag or variable."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        inner = next(arg for arg in args if arg is not type(None))
        return None if text == "" else parse(text, inner, where)
    if origin is typing.Literal:
        if text not in args:
            raise SettingsError(f"{where}: {text!r} is not one of {', '.join(args)}")
        return text
    if origin is tuple:
        return tuple(parse(part.strip(), args[0], where) for part in text.split(",") if part.strip())
    if hint is bool:
        if text.lower() not in _TRUE | _FALSE:
            raise SettingsError(f"{where}: {text!r} is neither true nor false")
        return text.lower() in _TRUE
    try:
        value = {str: str, int: int, float: float, Path: Path}[hint](text)
    except ValueError as error:
        kind = "a whole number" if hint is int else "a number"
        raise SettingsError(f"{where}: {text!r} is not {kind}") from error
    if hint is float and not math.isfinite(value):  # limits and comparisons fail with NaN and infinity
        raise SettingsError(f"{where}: {text!r} is not a finite number")
    return value


def address(text: str, where: str) -> tuple[str, int]:
    """(host, port) of `host:port`. Raises SettingsError that names `where`."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise SettingsError(f"{where}: {text!r} is not host:port")
    return host.strip("[]"), int(port)


def addresses(texts: Sequence[str], where: str) -> tuple[tuple[str, int], ...]:
    """(host, port) of each text; at least one. Raises SettingsError that names `where`."""
    if not texts:
        raise SettingsError(f"{where}: at least one host:port is needed")
    return tuple(address(text, where) for text in texts)


def _variable(prefix: str, name: str) -> str:
    return f"{prefix}_{name}".upper()


def _parser(
    fields: tuple[dataclasses.Field[Any], ...],
    hints: Mapping[str, Any],
    prefix: str,
    description: str | None,
    command: str,
) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for field in fields:
        default = "required" if field.default is dataclasses.MISSING else f"default {_shown(field.default)}"
        text = f"{field.metadata['help']} [{_variable(prefix, field.name)}; {default}]"
        metavar = "|".join(typing.get_args(hints[field.name])) if _is_literal(hints[field.name]) else "VALUE"
        # `--peers` alone means true; `--peers false` is possible too.
        bare: dict[str, Any] = {"nargs": "?", "const": "true"} if hints[field.name] is bool else {}
        parser.add_argument(
            flag(field.name), dest=field.name, metavar=metavar, help=text.replace("%", "%%"), **bare
        )
    return parser


def _is_literal(hint: Any) -> bool:
    return typing.get_origin(hint) is typing.Literal


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default)) or "none"
    return "none" if default is None else str(default)
