"""The settings classes of the tree, found in its syntax: no list has to be kept."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class SettingsClass(NamedTuple):
    """A dataclass whose fields are made by plumbing.settings.setting."""

    module: str
    name: str


def settings_classes(files: dict[Path, str]) -> dict[SettingsClass, set[str]]:
    """The settings classes in these sources, and the prefixes of environment variables each is loaded with.

    A call with a settings class and a prefix among its arguments loads it: `settings.load(Settings,
    prefix="BRIDGE", …)`, or a function that passes both on. The base of a settings class is loaded with it.
    """
    modules = {_module_name(path): ast.parse(text) for path, text in files.items()}
    class_names = {name: _classes(module) for name, module in modules.items()}
    prefixes: dict[SettingsClass, set[str]] = {
        SettingsClass(module, name): set() for module, names in class_names.items() for name in names
    }
    for name, module in modules.items():
        imported = _imports(module) | {cls: f"{name}.{cls}" for cls in class_names[name]}
        for call in ast.walk(module):
            if isinstance(call, ast.Call):
                for loaded in _arguments(call, imported):
                    owner, _, cls = loaded.rpartition(".")
                    if SettingsClass(owner, cls) in prefixes:
                        prefixes[SettingsClass(owner, cls)] |= _prefix(call)
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef) and node.name in class_names[name]:
                for base in node.bases:
                    owner, _, cls = imported.get(ast.unparse(base), "").rpartition(".")
                    prefixes.pop(SettingsClass(owner, cls), None)
    return prefixes


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _classes(module: ast.Module) -> list[str]:
    return [
        node.name
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef)
        and any(
            isinstance(field, ast.AnnAssign)
            and isinstance(field.value, ast.Call)
            and ast.unparse(field.value.func).rpartition(".")[2] == "setting"
            for field in node.body
        )
    ]


def _imports(module: ast.Module) -> dict[str, str]:
    """Name in the module to the full name of what it imports."""
    imported = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            imported |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return imported


def _arguments(call: ast.Call, imported: dict[str, str]) -> Iterator[str]:
    """Full names of the arguments of a call that are imported names or attributes of imported modules."""
    for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
        if isinstance(argument, ast.Name | ast.Attribute):
            first, dot, rest = ast.unparse(argument).partition(".")
            yield imported.get(first, first) + dot + rest


def _prefix(call: ast.Call) -> set[str]:
    """The first string among the arguments, in capitals."""
    values = (*(keyword.value for keyword in call.keywords if keyword.arg == "prefix"), *call.args)
    texts = [node.value for node in values if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return {text.upper() for text in texts[:1]}
