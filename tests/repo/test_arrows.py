"""Which package may import what: the folder list is the architecture."""

import ast
import sys
from pathlib import Path
from typing import Any

import pytest

SERVICES = ("simulator", "bridge", "mirror", "scorer", "trainer")
# Our own packages that each may import besides itself.
MAY_IMPORT: dict[str, set[str]] = {
    "contract": set(),
    "plumbing": set(),
    **{service: {"contract", "plumbing"} for service in SERVICES},
    "local": {"contract", "plumbing"},
    # A Kubernetes on this machine, with the brokers of the local deployment beside it.
    "cluster": {"contract", "plumbing", "local"},
    # The trainer's model and judgement on a plain file.
    "files": {"contract", "plumbing", "trainer"},
    # The pictures of the documents are drawn from the topics and from the demo's screen.
    "docs": {"contract", "local"},
    # The scorecard is no service: it asks the trainer's model, as scorers do, about the simulator's cars.
    "quality": {"contract", "plumbing", "simulator", "trainer", "scorer"},
    # Of the simulator its fleet's physics: what the scorer is measured with must look like telemetry.
    "loadtest": {"contract", "plumbing", "local", "scorer", "simulator"},
}
# Libraries: contract is pure, and only the trainer waits 4 s and 600 MB for TensorFlow.
PURE = {"numpy", "fastavro"}
HEAVY = {"tensorflow", "keras"}


def _imports(source: str) -> set[str]:
    """The top-level names that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "no relative imports: a reader sees where a name comes from"
            found.add(str(node.module).partition(".")[0])
    return found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_it_may(tree: Any, package: str):
    """contract and plumbing import neither each other nor a service; a service only these two and itself."""
    wrong = {
        f"{path}: {name}"
        for path in tree.python(package)
        for name in _imports(tree.text(path)) & set(MAY_IMPORT) - MAY_IMPORT[package] - {package}
    }
    assert not wrong


def test_contract_is_pure(tree: Any):
    """Nothing but the standard library, numpy and Avro: bytes in, bytes out, no connection."""
    allowed = (
        PURE
        | {"contract"}
        | set(sys.stdlib_module_names) - {"socket", "http", "urllib", "asyncio", "threading"}
    )
    wrong = {
        f"{path}: {name}" for path in tree.python("contract") for name in _imports(tree.text(path)) - allowed
    }
    assert not wrong


def test_only_training_imports_tensorflow(tree: Any):
    """Only the trainer, `files` and the scorecard do; every other process starts without it."""
    others = [name for name in tree.packages if name not in ("trainer", "files", "quality")]
    wrong = {f"{path}: {name}" for path in tree.python(*others) for name in _imports(tree.text(path)) & HEAVY}
    assert not wrong


def test_every_package_is_known(tree: Any):
    """A new top folder with Python in it needs a place in this picture."""
    assert {path.parts[0] for path in tree.python()} <= {*MAY_IMPORT, "tests"}


def test_nothing_is_called_utils(tree: Any):
    """A module is a noun of the domain."""
    names = {"utils", "util", "common", "helpers", "helper", "misc", "manager", "base", "shared"}
    assert not [path for path in tree.python() if {path.stem, *path.parts[:-1]} & names]


def test_no_module_hides_a_library_that_it_imports(tree: Any):
    """A top folder named like a library would be imported instead of it."""
    third_party = {"mqtt5", "confluent_kafka", "fastavro", "numpy", "rich", "keras", "tensorflow", "paho"}
    third_party |= {"scipy", "sklearn", "matplotlib"}
    tops = {path.parts[0].removesuffix(".py") for path in tree.files}
    assert not tops & (third_party | set(sys.stdlib_module_names))


@pytest.mark.parametrize("service", [*SERVICES, "local", "files", "cluster"])
def test_services_have_the_same_shape(tree: Any, service: str):
    """Who has read one has read them all: __main__.py, and settings.py where something can be set."""
    names = {path.name for path in tree.python(service)}
    assert "__main__.py" in names
    if service in SERVICES:
        assert "settings.py" in names


def test_exceptions_are_named(tree: Any):
    """`except Exception`, or none named, stands nowhere: an unexpected error is a bug and shows itself."""
    wrong = []
    for path in tree.python(*tree.packages):
        for node in ast.walk(ast.parse(tree.text(path))):
            if isinstance(node, ast.ExceptHandler) and _catches_all(node) and not _raises_again(node):
                wrong.append(f"{path}:{node.lineno}")
    assert not wrong


def _catches_all(node: ast.ExceptHandler) -> bool:
    return node.type is None or (
        isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
    )


def _raises_again(node: ast.ExceptHandler) -> bool:
    return any(isinstance(inner, ast.Raise) for inner in ast.walk(node))


def test_a_wrong_import_would_be_seen():
    """The finder of imports sees them at the top, in functions and under conditions."""
    source = "import a.b\nfrom c.d import e\ndef f():\n    import g as h\nif f:\n    from i import j\n"
    assert _imports(source) == {"a", "c", "g", "i"}
    assert Path(__file__).name == "test_arrows.py"


def test_only_one_place_asks_over_http(tree: Any):
    """plumbing/web.py leaves the proxy out for this machine: every urlopen beside it would forget that."""
    wrong = [
        path for path in tree.python() if "urlopen(" in tree.text(path) and path.name != "test_arrows.py"
    ]
    assert not wrong
