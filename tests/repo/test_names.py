"""Facts that stand in one place, and things that must stand nowhere."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract import topics

# Schemas are called telemetry and maintenance, too; the other plain words are also words of English.
_NAMES = {topic.name for topic in (*topics.edge_topics(), *topics.cloud_topics())}
UNMISTAKABLE = {name for name in _NAMES if re.search(r"[.-]", name)}


def _strings(source: str) -> Iterator[tuple[int, str]]:
    """String literals that are no docstrings."""
    module = ast.parse(source)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(module)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.lineno, node.value


def test_topic_names_stand_in_one_place(tree: Any):
    """contract/topics.py; everything else imports them from there. The same holds for MQTT's tree."""
    assert {"scores.audit", "telemetry.rejected", "car-state", "edge.telemetry"} <= UNMISTAKABLE
    wrong = [
        f"{path}:{line} {text!r}"
        for path in tree.python(*tree.packages)
        if path != Path("contract/topics.py")
        for line, text in _strings(tree.text(path))
        if text in UNMISTAKABLE or text.startswith("fleet/v1")
    ]
    assert not wrong


FORBIDDEN = {
    "work left for later": r"\b(TODO|FIXME|XXX|HACK)\b",
    "a path of one machine": r"(?<![\w.])/(work|root|home)/\w",
    "a registry's address": r"https?://[^\s\"'<>)]*(pypi|pythonhosted|maven|npmjs|artifactory|nexus|golang)",
    "an index option": r"--(extra-)?index-url|index-url\s*=",
    "a key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_must_stand_nowhere(tree: Any, what: str):
    """In no text file of the repository."""
    wrong = []
    for path in tree.files:
        if path == Path(__file__).relative_to(tree.root) or path.suffix in (
            ".tflite",
            ".jpg",
            ".png",
            ".bin",
        ):
            continue
        # Maven's own namespace is an identifier, not an address.
        text = (
            tree.text(path)
            .replace("http://maven.apache.org/POM/4.0.0", "")
            .replace("http://maven.apache.org/xsd/maven-4.0.0.xsd", "")
        )
        wrong += [
            f"{path}:{n}" for n, line in enumerate(text.splitlines(), 1) if re.search(FORBIDDEN[what], line)
        ]
    assert not wrong


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-tflite.txt", "constraints-moto.txt"])
def test_constraints_are_names_and_versions(tree: Any, name: str):
    """Any index or mirror serves them: no address, no hash, nothing twice."""
    lines = [line for line in tree.text(name).splitlines() if line and not line.startswith("#")]
    wrong = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)]
    assert not wrong
    names = [re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines]
    assert len(names) == len(set(names))


def test_what_is_installed_is_pinned(tree: Any):
    """Every dependency of pyproject.toml has its version in constraints.txt."""
    import tomllib

    project = tomllib.loads(tree.text("pyproject.toml"))["project"]
    wanted = [*project["dependencies"], *(d for e in project["optional-dependencies"].values() for d in e)]
    pinned = {
        re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower()
        for line in tree.text("constraints.txt").split()
    }
    names = {re.sub(r"[-_.]+", "-", re.split(r"[\[;<>=! ]", dependency)[0]).lower() for dependency in wanted}
    assert names - {"connected-cars"} <= pinned
