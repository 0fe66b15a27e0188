"""A file is read in one sitting, a function fits on a screen."""

import ast
from pathlib import Path
from typing import Any

FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 70


def test_files_are_short(tree: Any):
    """At most 300 lines, tests too."""
    wrong = []
    for path in tree.python():
        lines = tree.text(path).count("\n")
        if lines > FILE_LINES_MAX:
            wrong.append(f"{path}: {lines}")
    assert not wrong


def test_functions_are_short(tree: Any):
    """At most 70 lines, from `def` to the end."""
    wrong = []
    for path in tree.python():
        for node in ast.walk(ast.parse(tree.text(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    wrong.append(f"{path}:{node.lineno} {node.name}: {lines}")
    assert not wrong


def test_modules_say_what_they_are_for(tree: Any):
    """Every module, public class and public function of the packages has a docstring."""
    wrong = []
    for path in tree.python(*tree.packages):
        module = ast.parse(tree.text(path))
        wrong += [f"{path}:{line} {name}" for line, name in _undocumented(module)]
    assert not wrong


def _undocumented(module: ast.Module) -> list[tuple[int, str]]:
    found = [] if ast.get_docstring(module) else [(1, "the module")]
    for node in module.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                found.append((node.lineno, node.name))
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                public = isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_")
                if public and not ast.get_docstring(inner):
                    found.append((inner.lineno, f"{node.name}.{inner.name}"))
    return found


def test_every_test_says_what_it_proves(tree: Any):
    """Every test function has a docstring with the fact."""
    wrong = []
    for path in tree.python("tests"):
        for node in ast.walk(ast.parse(tree.text(path))):
            if (
                isinstance(node, ast.FunctionDef)
                and node.name.startswith("test_")
                and not ast.get_docstring(node)
            ):
                wrong.append(f"{path}:{node.lineno} {node.name}")
    assert not wrong


def test_schemas_are_short_enough_to_read(tree: Any):
    """An .avsc has a field a line."""
    files = [path for path in tree.files if path.suffix == ".avsc"]
    assert files
    assert all(tree.text(path).count("\n") < 60 for path in map(Path, files))
