"""The Avro schemas: one file per version under schemas/, each with its id and fingerprint.

A deployment whose vehicles have other signals sets CONNECTED_CARS_SCHEMAS to a folder with its own
telemetry.v1.avsc and signals.toml. They replace the package's telemetry schemas in every process that has the
variable in its environment (docs/your-data.md). The other record types stay.
"""

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from fastavro.schema import SchemaParseException, fingerprint, parse_schema, to_parsing_canonical_form

VARIABLE = "CONNECTED_CARS_SCHEMAS"
_PACKAGE = Path(__file__).parent / "schemas"
_TELEMETRY = "telemetry"
_HEAD = ("seq", "sampled_at")  # the two fields right before the signals (contract/telemetry.py)
_TIME = {"type": "long", "logicalType": "timestamp-millis"}
# Signal names are also array columns, TOML keys and parts of messages, so each must be one word.
_SIGNAL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_EXIT_BAD_SETTING = 2  # the same exit code as plumbing/life.py


@dataclass(frozen=True)
class Schema:
    """One version of one record type."""

    name: str
    version: int
    schema_id: int  # the id in Kafka's frame unless a registry gives another
    fingerprint: bytes  # CRC-64-AVRO, 8 bytes little-endian (Avro 1.11, "Single-object encoding")
    text: str = field(repr=False)  # the file
    parsed: Any = field(repr=False, compare=False)  # fastavro's form, without logical types

    @property
    def fields(self) -> list[dict[str, Any]]:
        """The record's fields in order, as in the file."""
        return list(json.loads(self.text)["fields"])

    def names(self, kind: str) -> tuple[str, ...]:
        """The names of the fields of one Avro type, in order; the floats of telemetry are its signals."""
        return tuple(each["name"] for each in self.fields if each["type"] == kind)

    @property
    def times(self) -> tuple[str, ...]:
        """The names of the fields that are times, in order."""
        return tuple(each["name"] for each in self.fields if each["type"] == _TIME)


@cache
def versions(name: str) -> tuple[Schema, ...]:
    """All versions of a record type, oldest first. Raises KeyError for a name without a schema."""
    if not (known := tuple(schema for schema in SCHEMAS if schema.name == name)):
        raise KeyError(f"no schema is named {name!r}")
    return known


def latest(name: str) -> Schema:
    """The newest version of a record type. Raises KeyError for a name without a schema."""
    return versions(name)[-1]


def get(name: str, version: int) -> Schema:
    """One version of a record type. Raises KeyError if it does not exist."""
    return {schema.version: schema for schema in versions(name)}[version]


def read(own: Path | None) -> tuple[Schema, ...]:
    """The package's schemas; if a folder `own` is given, its telemetry schemas replace the package's.

    Raises ValueError that names the file and says what to change.
    """
    package = [_read(path) for path in sorted(_PACKAGE.glob("*.avsc"))]
    others = [schema for schema in package if schema.name != _TELEMETRY]
    if own is None:
        telemetry = [schema for schema in package if schema.name == _TELEMETRY]
    else:
        telemetry = _read_own(own, {schema.schema_id for schema in others})
    telemetry.sort(key=lambda schema: schema.version)
    _check_versions(own or _PACKAGE, telemetry)
    return tuple(sorted([*others, *telemetry], key=lambda schema: (schema.name, schema.version)))


def _read_own(folder: Path, taken: set[int]) -> list[Schema]:
    """The telemetry schemas of a deployment's own folder; version 1 must be among them."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; it must hold {_TELEMETRY}.v1.avsc and signals.toml")
    paths = sorted(folder.glob("*.avsc"))
    if other := [
        path.name for path in paths if not re.fullmatch(_TELEMETRY + r"\.v[1-9]\d*\.avsc", path.name)
    ]:
        raise ValueError(f"{folder}: {', '.join(other)}; only {_TELEMETRY}.v<number>.avsc can be replaced")
    if folder / f"{_TELEMETRY}.v1.avsc" not in paths:
        raise ValueError(f"{folder} has no {_TELEMETRY}.v1.avsc")
    versions = []
    for path in paths:
        try:
            schema = _read(path)
            _check_telemetry(schema)
        except KeyError as error:
            raise ValueError(f"{path}: {error} is missing at the top level") from error
        except (ValueError, TypeError, AttributeError, OSError, SchemaParseException) as error:
            raise ValueError(f"{path}: {error}") from error
        if schema.schema_id in taken:
            raise ValueError(
                f"{path}: schema_id {schema.schema_id} belongs to another schema; taken are {sorted(taken)}"
            )
        taken = taken | {schema.schema_id}
        versions.append(schema)
    return versions


def _check_telemetry(schema: Schema) -> None:
    """Raise ValueError for a telemetry schema that contract/telemetry.py cannot encode and decode."""
    if not isinstance(schema.schema_id, int) or not 0 < schema.schema_id < 2**31:
        raise ValueError(f"schema_id must be a whole number from 1 to 2147483647, not {schema.schema_id!r}")
    types = {each["name"]: each["type"] for each in schema.fields}
    names = [each["name"] for each in schema.fields]
    strings, signals = schema.names("string"), schema.names("float")
    if names != [*strings, *_HEAD, *signals] or strings[:1] != ("car_id",) or not signals:
        raise ValueError(
            "the fields must be: car_id (string), any other strings, seq (long), sampled_at (long, "
            f"timestamp-millis), then the signals, each a plain float; found {', '.join(names) or 'none'}"
        )
    if duplicates := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"each field name must be unique; found twice: {', '.join(duplicates)}")
    if [types[name] for name in _HEAD] != ["long", _TIME]:
        raise ValueError(f'seq must be a "long", sampled_at {json.dumps(_TIME)}')
    if bad := [name for name in signals if not _SIGNAL.fullmatch(name)]:
        raise ValueError(f"signal names may hold only A-Z a-z 0-9 _: {', '.join(bad)}")


def _check_versions(folder: Path, versions: Sequence[Schema]) -> None:
    """Raise ValueError unless each version only adds fields: strings before seq, signals at the end.

    So the signals of every version are the first columns of the newest one's, and old records stay readable.
    """
    for older, newer in pairwise(versions):
        file = f"{folder}/{_TELEMETRY}.v{newer.version}.avsc"
        for kind, noun in (("string", "strings"), ("float", "signals")):
            kept, names = older.names(kind), newer.names(kind)
            if removed := [name for name in kept if name not in names]:
                raise ValueError(
                    f"{file}: {', '.join(removed)} of version {older.version} must stay; a {noun[:-1]} that "
                    "no car sends any more is NaN or empty in the records"
                )
            if names[: len(kept)] != kept:
                raise ValueError(
                    f"{file}: the {noun} must begin with those of version {older.version} in their order "
                    f"({', '.join(kept)}), and new ones follow"
                )
        known = {each["name"] for each in older.fields}
        if bare := [f["name"] for f in newer.fields if f["name"] not in known and "default" not in f]:
            raise ValueError(
                f"{file}: {', '.join(bare)} must have a default for generic readers of older records"
            )


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
    """Keep times as integers (ms since 1970): fastavro would make datetime objects of them."""
    if isinstance(node, dict):
        return {key: _without_logical_types(value) for key, value in node.items() if key != "logicalType"}
    return [_without_logical_types(item) for item in node] if isinstance(node, list) else node


def _from_environment() -> tuple[Path | None, tuple[Schema, ...]]:
    """Read once at import: SIGNALS and everything derived from it are constants of a process."""
    own = Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None
    try:
        return own, read(own)
    except ValueError as error:
        # Nobody can catch this at import: print one line and use the exit code of a bad setting.
        print(f"settings: {VARIABLE}: {error}", file=sys.stderr)
        sys.exit(_EXIT_BAD_SETTING)


# The folder that replaces the package's telemetry schemas, and all schemas sorted by name and version.
OWN_FOLDER, SCHEMAS = _from_environment()
SIGNALS_FILE = (OWN_FOLDER or _PACKAGE) / "signals.toml"  # see contract/signals.py
