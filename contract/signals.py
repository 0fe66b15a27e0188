"""signals.toml: what a detector must know of the signals, as data beside the telemetry schema.

A deployment with signals of its own replaces the schema and this file; no other code names a signal.
"""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from contract.fields import read as from_document
from contract.schema import SIGNALS_FILE
from contract.telemetry import SIGNALS

# n signals that may go either way make 2**n directions (trainer/model/directions.py).
_EITHER_WAY_MAX = 3
_CHANGE = re.compile(r"(\+-|[-+*])\s*([0-9]+(?:\.[0-9]+)?)(,\s*stuck)?")
_SECTIONS = ("signals", "ratio", "components", "deviation")
_Entry = TypeVar("_Entry", "Signal", "Ratio", "Deviation")


@dataclass(frozen=True, kw_only=True)
class Signal:
    """A signal of the telemetry schema."""

    name: str
    resolution: float  # in the signal's unit: a smaller change is noise of the sensor
    condition: bool = False  # part of the operating point, from which other signals are expected
    judged: bool = True  # whether it can raise the score
    restless: bool = False  # a healthy sensor hardly ever repeats a value, so one that does is stuck
    least: float = -math.inf  # what no sound sensor falls below, in the signal's unit
    most: float = math.inf  # what no sound sensor exceeds


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A quotient of signals that is judged instead of one of them, or only helps to expect others.

    With `logarithm`: log(|numerator| + numerator_offset) - power * log(|denominator| + denominator_offset),
    with one numerator. Otherwise: the product of the numerators over
    unit * (|denominator| + denominator_offset), clipped to ±most. Raises ValueError for other settings.
    """

    name: str
    numerator: tuple[str, ...]
    denominator: str
    resolution: float  # in the ratio's own unit
    judges: str | None = None  # the signal that is judged by this ratio
    numerator_offset: float = 0.0
    denominator_offset: float = 0.0
    power: float = 1.0
    logarithm: bool = False
    unit: float = 1.0
    most: float = 1e6
    condition: bool = False  # part of the operating point
    judged_above: float = 0.0  # with a smaller |denominator| the ratio is not judged

    def __post_init__(self) -> None:
        if self.denominator_offset <= 0:
            raise ValueError("denominator_offset must be positive, because a denominator may be 0")
        if self.logarithm and (len(self.numerator) != 1 or self.numerator_offset <= 0):
            raise ValueError("a logarithm needs one numerator and a positive numerator_offset")
        if not self.numerator:
            raise ValueError("numerator must name at least one signal")

    @property
    def signals(self) -> tuple[str, ...]:
        """The signals that the ratio is made of or judges."""
        return (*self.numerator, self.denominator, *([self.judges] if self.judges else []))


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a beginning fault does to a signal: value * factor + offset."""

    signal: str
    factor: float = 1.0
    offset: float | None = 0.0  # in the signal's unit; None: of unknown size
    either_way: bool = False  # the fault may also change the signal by -offset
    stuck: bool = False  # the fault may also make the sensor repeat its value


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """A synthetic fault at full size, on which candidates are compared: value * factor + offset."""

    name: str
    signals: tuple[str, ...]  # for each car one of these is drawn
    factor: float = 1.0
    offset: float = 0.0  # in the signal's unit


@dataclass(frozen=True)
class SignalSettings:
    """The contents of a signals.toml."""

    signals: tuple[Signal, ...]  # in the order of the schema
    ratios: tuple[Ratio, ...]
    components: Mapping[str, tuple[Change, ...]]  # component: what its faults do to the signals
    deviations: tuple[Deviation, ...]


@cache
def signal_settings() -> SignalSettings:
    """The settings of the telemetry schema of this process. Raises ValueError as `read` does."""
    return read(SIGNALS_FILE, SIGNALS)


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
    components = {
        name: _changes(name, table, names) for name, table in document.get("components", {}).items()
    }
    for deviation in deviations:
        _known(f"deviation {deviation.name}", deviation.signals, names)
    for ratio in ratios:
        _known(f"ratio {ratio.name}", ratio.signals, names)
    sizes = {entry.name: entry.resolution for entry in signals} | {r.name: r.resolution for r in ratios}
    if bad := [name for name, size in sizes.items() if not 0 < size < math.inf]:
        raise ValueError(f"resolution must be a positive number: {', '.join(bad)}")
    if bad := [signal.name for signal in signals if not signal.least < signal.most]:
        raise ValueError(f"least must be less than most: {', '.join(bad)}")
    if not any(signal.judged for signal in signals):
        raise ValueError("no signal is judged, so nothing could ever be an anomaly")
    judged = [ratio.judges for ratio in ratios if ratio.judges]
    if twice := sorted({name for name in judged if judged.count(name) > 1}):
        raise ValueError(f"more than one ratio judges {', '.join(twice)}")
    return SignalSettings(signals, ratios, components, deviations)


def _changes(component: str, entry: Any, names: tuple[str, ...]) -> tuple[Change, ...]:
    """The changes of a component: a table (signal: change), or a list of signals that go either way."""
    _known(f"components: {component}", entry, names)
    if not entry:
        raise ValueError(f"components: {component} must name at least one signal")
    if isinstance(entry, Mapping):
        changes = tuple(_change(component, signal, text) for signal, text in entry.items())
    else:
        changes = tuple(Change(signal=signal, offset=None, either_way=True, stuck=True) for signal in entry)
    if sum(change.either_way for change in changes) > _EITHER_WAY_MAX:
        raise ValueError(
            f"components: {component} has more than {_EITHER_WAY_MAX} signals that go either way: "
            "say which way they go, like { signal = '+ 5' }"
        )
    return changes


def _change(component: str, signal: str, text: Any) -> Change:
    match = _CHANGE.fullmatch(text) if isinstance(text, str) else None
    if match is None or float(match[2]) == (match[1] == "*"):
        raise ValueError(
            f"components: {component}: {signal} must be a change like '+ 5', '- 5', '+- 5' or '* 0.9', "
            f"followed by ', stuck' for a sensor that may repeat its value, not {text!r}"
        )
    size, either_way, stuck = float(match[2]), match[1] == "+-", match[3] is not None
    if match[1] == "*":
        return Change(signal=signal, factor=size, stuck=stuck)
    offset = -size if match[1] == "-" else size
    return Change(signal=signal, offset=offset, either_way=either_way, stuck=stuck)


def _known(where: str, names: Any, known: tuple[str, ...]) -> None:
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"{where}: unknown {', '.join(unknown)}; known are {', '.join(known)}")


def _made(kind: type[_Entry], entry: Mapping[str, Any]) -> _Entry:
    """An instance of one of the dataclasses above; fields with a default may be left out."""
    defaults: dict[str, Any] = {
        item.name: item.default for item in fields(kind) if item.default is not MISSING
    }
    try:
        return from_document(kind, {**defaults, **entry})
    except ValueError as error:
        raise ValueError(f"{kind.__name__.lower()} {entry.get('name', '?')}: {error}") from error
