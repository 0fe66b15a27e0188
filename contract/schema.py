"""The Avro schemas: one file a version under schemas/, each with its id and fingerprint.

Whose vehicles have other signals sets CONNECTED_CARS_SCHEMAS to a folder with a telemetry.v1.avsc and a
signals.toml of his own: they take the place of ours in every process that has this in its environment
(docs/your-data.md). The other record types stay.
"""

import copy
import json
import os
import re
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from fastavro.schema import (
    SchemaParseException,
    fingerprint,
    parse_schema,
    to_parsing_canonical_form,
)

VARIABLE = "CONNECTED_CARS_SCHEMAS"
_PACKAGE = Path(__file__).parent / "schemas"
_TELEMETRY = "telemetry"
_HEAD = ("seq", "sampled_at")  # what stands right before the signals, as contract/telemetry.py wants it
# A signal's name is a column, a TOML key and part of reasons: one word.
_SIGNAL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_EXIT_BAD_SETTING = 2  # as plumbing/life.py exits


@dataclass(frozen=True)
class Schema:
    """One version of one record type.

    `schema_id` is the id in Kafka's frame where no registry gives another; `fingerprint` the 8 bytes of
    CRC-64-AVRO over the parsing canonical form, little-endian, as the single-object encoding carries it
    (Avro specification 1.11, "Single-object encoding").
    """

    name: str
    version: int
    schema_id: int
    fingerprint: bytes
    text: str = field(repr=False)
    parsed: Any = field(repr=False, compare=False)

    @property
    def fields(self) -> list[dict[str, Any]]:
        """The record's fields in order, as in the file."""
        return list(json.loads(self.text)["fields"])


@cache
def schemas() -> tuple[Schema, ...]:
    """All schemas that this process uses, by name and version."""
    return _CHOSEN


def own_folder() -> Path | None:
    """Where the telemetry schema of this process comes from, if it is not the package's."""
    return _OWN


def signals_file() -> Path:
    """The settings of the telemetry's signals (contract/signals.py): they stand beside its schema."""
    return (_OWN or _PACKAGE) / "signals.toml"


@cache
def latest(name: str) -> Schema:
    """The newest version of a record type. Raises KeyError for a name without a schema."""
    versions = [schema for schema in schemas() if schema.name == name]
    if not versions:
        raise KeyError(f"no schema is named {name!r}")
    return versions[-1]


def get(name: str, version: int) -> Schema:
    """One version of a record type. Raises KeyError where there is none."""
    for schema in schemas():
        if (schema.name, schema.version) == (name, version):
            return schema
    raise KeyError(f"no schema {name!r} has a version {version}")


def read(own: Path | None) -> tuple[Schema, ...]:
    """The package's schemas; those of telemetry from the folder `own` instead, where one is given.

    Raises ValueError that names the file and says what to change.
    """
    found = [_read(path) for path in _PACKAGE.glob("*.avsc")]
    if own is not None:
        found = [schema for schema in found if schema.name != _TELEMETRY]
        found += _own(own, {schema.schema_id for schema in found})
    return tuple(sorted(found, key=lambda schema: (schema.name, schema.version)))


def _own(folder: Path, taken: set[int]) -> list[Schema]:
    """The telemetry schemas of a deployment's own folder, version 1 at least."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; it must hold {_TELEMETRY}.v1.avsc and signals.toml")
    paths = sorted(folder.glob("*.avsc"))
    if other := [
        path.name for path in paths if not re.fullmatch(_TELEMETRY + r"\.v[1-9]\d*\.avsc", path.name)
    ]:
        raise ValueError(f"{folder}: {', '.join(other)}; only {_TELEMETRY}.v<number>.avsc can be one's own")
    if folder / f"{_TELEMETRY}.v1.avsc" not in paths:
        raise ValueError(f"{folder} has no {_TELEMETRY}.v1.avsc")
    found = []
    for path in paths:
        try:
            schema = _read(path)
            _check_telemetry(schema)
        except KeyError as error:
            raise ValueError(f"{path}: {error} is missing at the top") from error
        except (ValueError, TypeError, AttributeError, OSError, SchemaParseException) as error:
            raise ValueError(f"{path}: {error}") from error
        if schema.schema_id in taken:
            raise ValueError(
                f"{path}: schema_id {schema.schema_id} is another schema's; taken are {sorted(taken)}"
            )
        taken = taken | {schema.schema_id}
        found.append(schema)
    return found


def _check_telemetry(schema: Schema) -> None:
    """What the vectorised codec (contract/telemetry.py) and the bridge need of a telemetry schema."""
    names, types = [f["name"] for f in schema.fields], [f["type"] for f in schema.fields]
    signals = [name for name, kind in zip(names, types, strict=True) if kind == "float"]
    strings = [name for name, kind in zip(names, types, strict=True) if kind == "string"]
    if not isinstance(schema.schema_id, int) or not 0 < schema.schema_id < 2**31:
        raise ValueError(f"schema_id must be a whole number from 1 to 2147483647, not {schema.schema_id!r}")
    if names != [*strings, *_HEAD, *signals] or strings[:1] != ["car_id"] or not signals:
        raise ValueError(
            "the fields must be: car_id (string), any other strings, seq (long), sampled_at (long, "
            f"timestamp-millis), then the signals, each a plain float; found {', '.join(names) or 'none'}"
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"no field may stand there twice: {', '.join(twice)}")
    at = len(strings)
    if types[at] != "long" or types[at + 1] != {"type": "long", "logicalType": "timestamp-millis"}:
        raise ValueError(
            'seq must be a "long", sampled_at {"type": "long", "logicalType": "timestamp-millis"}'
        )
    if bad := [name for name in signals if not _SIGNAL.fullmatch(name)]:
        raise ValueError(f"signals must be named with A-Z a-z 0-9 _: {', '.join(bad)}")


def _read(path: Path) -> Schema:
    name, version, _ = path.name.split(".")
    text = path.read_text(encoding="utf-8")
    definition = json.loads(text)
    canonical = to_parsing_canonical_form(definition)
    return Schema(
        name=name,
        version=int(version.removeprefix("v")),
        schema_id=definition["schema_id"],
        fingerprint=bytes.fromhex(fingerprint(canonical, "CRC-64-AVRO")),
        text=text,
        parsed=parse_schema(_without_logical_types(definition)),
    )


def _without_logical_types(node: Any) -> Any:
    """Times stay integers (ms since 1970) in our hands; the type on the wire is the same."""
    node = copy.deepcopy(node)
    if isinstance(node, dict):
        node.pop("logicalType", None)
        return {key: _without_logical_types(value) for key, value in node.items()}
    return [_without_logical_types(item) for item in node] if isinstance(node, list) else node


def _chosen() -> tuple[Path | None, tuple[Schema, ...]]:
    """Of the environment, once: SIGNALS and all that hangs on it are constants of a process."""
    own = Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None
    try:
        return own, read(own)
    except ValueError as error:
        # At import nobody is there yet to catch it: a line, and the exit code of any bad setting.
        print(f"settings: {VARIABLE}: {error}", file=sys.stderr)
        sys.exit(_EXIT_BAD_SETTING)


_OWN, _CHOSEN = _chosen()
