"""Plain technical English: names are nouns, and docstrings are sentences that begin with their noun."""

import ast
import re
from collections.abc import Iterator
from typing import Any

# Use the noun instead: `told` is settings, `of` and `said` are whatever they hold.
FORBIDDEN_NAMES = {"of", "told", "said"}
FORBIDDEN_BEGINNINGS = re.compile(r"(Of|Those|The same|One of)\b")


def _stored_names(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Variables, arguments and attributes that a module assigns."""
    for node in ast.walk(module):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg


def _docstrings(module: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""


def _complaints(source: str) -> list[str]:
    """Line and reason of every name and docstring in a source that is not allowed."""
    module = ast.parse(source)
    names = [f"{line} {name}" for line, name in _stored_names(module) if name.strip("_") in FORBIDDEN_NAMES]
    beginnings = [
        f"{line} {text.partition(chr(10))[0]!r}"
        for line, text in _docstrings(module)
        if FORBIDDEN_BEGINNINGS.match(text)
    ]
    return names + beginnings


def test_names_and_docstrings_are_plain(tree: Any):
    """No variable, argument or attribute `of`, `told` or `said`; no docstring that begins with "Of", …"""
    wrong = [
        f"{path}:{complaint}"
        for path in tree.python(*tree.packages, "tests")
        for complaint in _complaints(tree.text(path))
    ]
    assert not wrong


def test_every_kind_of_name_and_docstring_is_checked():
    """A loop variable, an argument, an attribute, a docstring of a method; a method `of` is allowed."""
    source = '''
class Layout:
    @classmethod
    def of(cls, told):
        """One of the layouts."""
        for said in told:
            cls._of = said
'''
    assert sorted(_complaints(source)) == ["4 'One of the layouts.'", "4 told", "6 said", "7 _of"]
