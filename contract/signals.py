"""What a detector must know of the telemetry's signals: data beside the schema, `signals.toml`, never code.

A deployment with signals of its own brings its own schema and this file; nothing else names a signal.
"""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from contract.schema import signals_file
from contract.telemetry import SIGNALS

# Each way a component's signals can go together is a direction of its own.
_EITHER_WAY_MAX = 3
_CHANGE = re.compile(r"(\+-|[-+*])\s*([0-9]+(?:\.[0-9]+)?)(,\s*stuck)?")
_SECTIONS = ("signals", "ratio", "components", "deviation")
_Entry = TypeVar("_Entry", "Signal", "Ratio", "Deviation")


@dataclass(frozen=True, kw_only=True)
class Signal:
    """`resolution`, in the signal's unit: below it a change is the sensor's, not news.

    `condition`: part of the operating point. `judged`: whether it can make a score. `restless`: a sound
    sensor hardly ever says the same twice running, so one that often does is stuck.
    """

    name: str
    resolution: float
    condition: bool = False
    judged: bool = True
    restless: bool = False


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A quotient that judges the signal `judges` in its place, or only helps to expect others.

    With `logarithm`: log(|numerator| + numerator_offset) - power * log(|denominator| + denominator_offset),
    of one numerator. Else: the product of the numerators over unit * (|denominator| + denominator_offset),
    within `most` either way. `resolution` is in the ratio's own unit. With a denominator (its size) below
    `judged_above` the ratio says nothing of the part, and is not judged.
    """

    name: str
    numerator: tuple[str, ...]
    denominator: str
    resolution: float
    judges: str | None = None
    numerator_offset: float = 0.0
    denominator_offset: float = 0.0
    power: float = 1.0
    logarithm: bool = False
    unit: float = 1.0
    most: float = 1e6
    condition: bool = False
    judged_above: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a beginning fault does to a signal: times `factor` plus `offset`, in its unit.

    `offset` None: nobody said by how much. `either_way`: or the opposite. `stuck`: or it repeats itself.
    """

    signal: str
    factor: float = 1.0
    offset: float | None = 0.0
    either_way: bool = False
    stuck: bool = False


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """One of `signals` (drawn for each car) times `factor` plus `offset`, in its unit, at full size."""

    name: str
    signals: tuple[str, ...]
    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class SignalSettings:
    """A whole signals.toml. `components`: component -> what its faults do to the signals."""

    signals: tuple[Signal, ...]
    ratios: tuple[Ratio, ...]
    components: Mapping[str, tuple[Change, ...]]
    deviations: tuple[Deviation, ...]


@cache
def signal_settings() -> SignalSettings:
    """Of the telemetry schema that this process uses. Raises ValueError as `read` does."""
    return read(signals_file(), SIGNALS)


def read(path: Path, signals: tuple[str, ...]) -> SignalSettings:
    """The settings of a schema's `signals`, in the schema's order.

    Raises ValueError that names the file, what is wrong in it and what to change.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        return _settings(document, signals)
    except OSError as error:
        raise ValueError(
            f"{path}: {error.strerror}; every telemetry schema needs this file beside it"
        ) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _settings(document: Mapping[str, Any], names: tuple[str, ...]) -> SignalSettings:
    _known("sections", document, _SECTIONS)
    table = document.get("signals", {})
    _known("signals", table, names)
    if missing := [name for name in names if name not in table]:
        raise ValueError(f"no [signals] entry for {', '.join(missing)}, which the schema has")
    signals = tuple(_made(Signal, {"name": name} | table[name]) for name in names)
    ratios = tuple(_made(Ratio, entry) for entry in document.get("ratio", []))
    deviations = tuple(_made(Deviation, entry) for entry in document.get("deviation", []))
    components = {name: _changes(name, of, names) for name, of in document.get("components", {}).items()}
    for deviation in deviations:
        _known(f"deviation {deviation.name}", deviation.signals, names)
    for ratio in ratios:
        _check_ratio(ratio, names)
    sizes = {entry.name: entry.resolution for entry in signals} | {r.name: r.resolution for r in ratios}
    if bad := [name for name, size in sizes.items() if not 0 < size < math.inf]:
        raise ValueError(f"resolution must be a positive number: {', '.join(bad)}")
    if not any(signal.judged for signal in signals):
        raise ValueError("no signal is judged: nothing could ever be an anomaly")
    judged = [ratio.judges for ratio in ratios if ratio.judges]
    if twice := sorted({name for name in judged if judged.count(name) > 1}):
        raise ValueError(f"more than one ratio judges {', '.join(twice)}")
    return SignalSettings(signals, ratios, components, deviations)


def _changes(component: str, said: Any, names: tuple[str, ...]) -> tuple[Change, ...]:
    """Of a component: a list of signals that go whichever way, or a table of what becomes of each."""
    _known(f"components: {component}", said, names)
    if not said:
        raise ValueError(f"components: {component} must name at least one signal")
    if isinstance(said, Mapping):
        changes = tuple(_change(component, signal, text) for signal, text in said.items())
    else:
        changes = tuple(Change(signal=signal, offset=None, either_way=True, stuck=True) for signal in said)
    if sum(change.either_way for change in changes) > _EITHER_WAY_MAX:
        raise ValueError(
            f"components: {component} has more than {_EITHER_WAY_MAX} signals that go either way: "
            "say which way they go, as { signal = '+ 5' }"
        )
    return changes


def _change(component: str, signal: str, text: Any) -> Change:
    found = _CHANGE.fullmatch(text) if isinstance(text, str) else None
    if found is None or float(found[2]) == (found[1] == "*"):
        raise ValueError(
            f"components: {component}: {signal} must be a change like '+ 5', '- 5', '+- 5' or '* 0.9', "
            f"with ', stuck' behind it for a sensor that may repeat itself, not {text!r}"
        )
    size, either_way, stuck = float(found[2]), found[1] == "+-", found[3] is not None
    if found[1] == "*":
        return Change(signal=signal, factor=size, stuck=stuck)
    offset = -size if found[1] == "-" else size
    return Change(signal=signal, offset=offset, either_way=either_way, stuck=stuck)


def _check_ratio(ratio: Ratio, names: tuple[str, ...]) -> None:
    of = (*ratio.numerator, ratio.denominator, *([ratio.judges] if ratio.judges else []))
    _known(f"ratio {ratio.name}", of, names)
    if ratio.denominator_offset <= 0:
        raise ValueError(f"ratio {ratio.name}: denominator_offset must be positive, a denominator may be 0")
    if ratio.logarithm and (len(ratio.numerator) != 1 or ratio.numerator_offset <= 0):
        raise ValueError(
            f"ratio {ratio.name}: a logarithm needs one numerator and a positive numerator_offset"
        )
    if not ratio.numerator:
        raise ValueError(f"ratio {ratio.name}: numerator must name at least one signal")


def _known(where: str, found: Any, known: tuple[str, ...]) -> None:
    if unknown := sorted(set(found) - set(known)):
        raise ValueError(f"{where}: unknown {', '.join(unknown)}; known are {', '.join(known)}")


def _made(kind: type[_Entry], entry: Mapping[str, Any]) -> _Entry:
    """An instance of one of the dataclasses above, every value of its field's type."""
    where, values = f"{kind.__name__.lower()} {entry.get('name', '?')}", {}
    known = {item.name: item for item in fields(kind)}
    _known(where, entry, tuple(known))
    required = [name for name, item in known.items() if item.default is MISSING]
    if missing := [name for name in required if name not in entry]:
        raise ValueError(f"{where}: {', '.join(missing)} must be given")
    for name, value in entry.items():
        values[name] = _typed(f"{where}: {name}", value, known[name].type)
    return kind(**values)


def _typed(where: str, value: Any, kind: Any) -> Any:
    """`value` as TOML gave it, if it is what a field of that annotation takes."""
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is bool and isinstance(value, bool):
        return value
    if kind in (str, str | None) and isinstance(value, str):
        return value
    if kind == tuple[str, ...] and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ValueError(f"{where} must be {getattr(kind, '__name__', kind)}, not {value!r}")
