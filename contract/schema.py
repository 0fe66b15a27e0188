"""The Avro schemas: one file a version under schemas/, each with its id and fingerprint."""

import copy
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

_FOLDER = Path(__file__).parent / "schemas"


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
    """All schemas, by name and version."""
    found = [_read(path) for path in _FOLDER.glob("*.avsc")]
    return tuple(sorted(found, key=lambda schema: (schema.name, schema.version)))


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
