"""What a current Terraform provider takes, read (`ast`) out of a cdktf provider's wheel. Nothing of it runs.

In such a wheel every resource is a module: the class's constructor has the arguments as keyword parameters,
those that are required without a default; a nested block is a further class, named in the annotation; what
can be referred to is a property of the class.
"""

import ast
import re
import zipfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

# Constructor parameters that are no argument of the provider's.
_OF_CDKTF = {"self", "scope", "id_", "connection", "count", "depends_on", "for_each", "lifecycle", "provider"}
_OF_CDKTF |= {"provisioners", "timeouts"}
# A name that is a word of Python's gets an underscore.
_BENT = re.compile(r"_$")


@dataclass
class Schema:
    """Arguments of a resource or a nested block."""

    plain: set[str] = field(default_factory=set)
    blocks: dict[str, "Schema"] = field(default_factory=dict)
    repeated: set[str] = field(default_factory=set)
    required: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)


class Provider:
    """The schemas in one wheel; a resource is read when it is asked for."""

    def __init__(self, wheel: Path, name: str) -> None:
        self._zip = zipfile.ZipFile(wheel)
        self._package = f"cdktf_cdktf_provider_{name}"
        self._name = name
        self.resource = cache(self._resource)

    @property
    def version(self) -> str:
        """Version of the provider itself."""
        found = re.search(
            rf"providers/hashicorp/{self._name}/([0-9.]+)",
            self._text(f"{self._package}/provider/__init__.py"),
        )
        assert found
        return found[1]

    @property
    def configuration(self) -> Schema:
        """What a `provider` block takes."""
        return self._schema("provider", "TerraformProvider")

    def _resource(self, kind: str) -> Schema:
        """The schema of `kind`, for example aws_vpc. Raises KeyError for a resource that there is not."""
        return self._schema(kind.removeprefix(f"{self._name}_"), "TerraformResource")

    def _schema(self, module: str, base: str) -> Schema:
        classes = {
            node.name: node
            for node in ast.parse(self._text(f"{self._package}/{module}/__init__.py")).body
            if isinstance(node, ast.ClassDef)
        }
        main = next(node for node in classes.values() if _derives(node, base))
        schema = _read(main, classes)
        schema.attributes = {
            node.name
            for node in main.body
            if isinstance(node, ast.FunctionDef) and _is_property(node) and not node.name.endswith("_input")
        }
        return schema

    def _text(self, path: str) -> str:
        return self._zip.read(path).decode()


def _read(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> Schema:
    (init,) = (f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__")
    schema = Schema()
    for parameter, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True):
        if parameter.arg in _OF_CDKTF:
            continue
        name = _BENT.sub("", parameter.arg)
        annotation = ast.unparse(parameter.annotation) if parameter.annotation else ""
        nested = [other for other in re.findall(r"['\"](\w+)['\"]", annotation) if other in classes]
        if nested:
            schema.blocks[name] = _read(classes[nested[0]], classes)
        else:
            schema.plain.add(name)
        if nested and "Sequence" in annotation:
            schema.repeated.add(name)
        if default is None:
            schema.required.add(name)
    return schema


def _derives(node: ast.ClassDef, base: str) -> bool:
    return any(ast.unparse(parent).endswith(base) for parent in node.bases)


def _is_property(node: ast.FunctionDef) -> bool:
    return any(ast.unparse(decorator) == "builtins.property" for decorator in node.decorator_list)
