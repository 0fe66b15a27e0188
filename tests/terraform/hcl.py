"""Terraform's files as data: the blocks of a folder, every expression as its text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import hcl2
from hcl2.utils import SerializationOptions

ROOT = Path(__file__).parents[2] / "terraform"
CLOUDS = {"aws": "aws", "gcp": "google"}  # folder and provider
MODULES = tuple(f"modules/{cloud}/{name}" for cloud in CLOUDS for name in ("network", "cluster", "registry"))
FOLDERS = (*CLOUDS, *MODULES)

# Arguments of every resource and block, whatever the provider.
META = {"for_each", "count", "depends_on", "provider", "lifecycle", "provisioner", "connection"}
_OPTIONS = SerializationOptions(with_comments=False, strip_string_quotes=True)


@dataclass
class Item:
    """The inside of a resource or of a block in one."""

    arguments: dict[str, Any] = field(default_factory=dict)
    blocks: list[tuple[str, "Item"]] = field(default_factory=list)

    @property
    def names(self) -> set[str]:
        """What is set here, as argument or as block."""
        return {*self.arguments, *(name for name, _ in self.blocks)}


@dataclass
class Folder:
    """All blocks of a folder's .tf files."""

    path: str
    variables: dict[str, dict[str, Any]] = field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    resources: dict[tuple[str, str], Item] = field(default_factory=dict)
    providers: dict[str, Item] = field(default_factory=dict)
    modules: dict[str, dict[str, Any]] = field(default_factory=dict)
    local_values: dict[str, Any] = field(default_factory=dict)

    @property
    def expressions(self) -> str:
        """Every expression in one text, for a look at what is referred to."""
        return "\n".join(
            text
            for part in (self.variables, self.outputs, self.modules, self.local_values, self._texts)
            for text in _leaves(part)
        )

    @property
    def _texts(self) -> list[Any]:
        return [_plain(item) for item in (*self.resources.values(), *self.providers.values())]


@cache
def folder(path: str) -> Folder:
    """The folder `path` under terraform/."""
    read = Folder(path)
    for file in sorted((ROOT / path).glob("*.tf")):
        content = hcl2.loads(file.read_text(encoding="utf-8"), serialization_options=_OPTIONS)
        for block in content.get("variable", []):
            read.variables |= block
        for block in content.get("output", []):
            read.outputs |= block
        for block in content.get("provider", []):
            read.providers |= {name: _item(body) for name, body in block.items()}
        for block in content.get("module", []):
            read.modules |= block
        for block in content.get("locals", []):
            read.local_values |= _without_marks(block)
        for block in content.get("resource", []):
            for kind, named in block.items():
                for name, body in named.items():
                    read.resources[kind, name] = _item(body)
    return read


def _item(body: dict[str, Any]) -> Item:
    item = Item()
    for name, value in _without_marks(body).items():
        if name == "dynamic":
            for block in value:
                for label, inner in block.items():
                    content = _item(inner["content"][0])
                    content.arguments["for_each"] = inner["for_each"]
                    item.blocks.append((label, content))
        elif isinstance(value, list) and value and all(_is_block(part) for part in value):
            item.blocks += [(name, _item(part)) for part in value]
        else:
            item.arguments[name] = value
    return item


def _is_block(value: Any) -> bool:
    return isinstance(value, dict) and "__is_block__" in value


def _without_marks(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if not name.startswith("__")}


def _plain(item: Item) -> list[Any]:
    return [item.arguments, *(_plain(block) for _, block in item.blocks)]


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield str(value)


def references(read: Folder, kind: str) -> set[str]:
    """Names after `var.`, `local.` or `module.` in a folder."""
    return set(re.findall(rf"\b{kind}\.(\w+)", read.expressions))


def attributes(read: Folder, provider: str) -> set[tuple[str, str, str]]:
    """(type, name, attribute) of every reference to a resource, as in `aws_vpc.this.id`."""
    index = r"(?:\[[^\[\]]*(?:\[[^\]]*\])?[^\[\]]*\])?"
    return set(re.findall(rf"\b({provider}_\w+)\.(\w+){index}\.(\w+)", read.expressions))
