"""What the documents say against what the code does.

Where a row is missing, the failing test prints it, ready to paste.
"""

import ast
import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Counter, Gauge, Histogram, Summary
from prometheus_client.metrics import MetricWrapperBase

from loadtest.chaos import faults
from tests.repo.settings_classes import SettingsClass, settings_classes

METRICS = ("simulator.metrics", "bridge.metrics", "mirror.metrics", "scorer.metrics", "trainer.watch.metrics")
KINDS = {Counter: "counter", Gauge: "gauge", Histogram: "histogram", Summary: "summary"}


@pytest.fixture(scope="session")
def settings(tree: Any) -> dict[SettingsClass, set[str]]:
    """Every settings class that a command can load, with its prefix; tests define others."""
    files = [path for path in tree.python() if not path.name.startswith(("test_", "conftest"))]
    return settings_classes({path: tree.text(path) for path in files})


def _settings_rows(settings: dict[SettingsClass, set[str]]) -> list[str]:
    rows = []
    for (module, name), (prefix,) in settings.items():
        for field in dataclasses.fields(getattr(importlib.import_module(module), name)):
            default = "required" if field.default is dataclasses.MISSING else f"`{_shown(field.default)}`"
            flag = field.name.strip("_")  # `from_` is --from
            variable = f"{prefix}_{flag.upper()}"
            meaning = field.metadata["help"].replace("|", "\\|")
            rows.append(f"| `--{flag.replace('_', '-')}` | `{variable}` | {default} | {meaning} |")
    return rows


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default)) or "none"
    return "none" if default is None else str(default)


def _metrics_rows(module: str) -> list[str]:
    rows = []
    for metric in vars(importlib.import_module(module)).values():
        if isinstance(metric, MetricWrapperBase):
            name = metric._name + ("_total" if isinstance(metric, Counter) else "")
            labels = ", ".join(metric._labelnames)
            rows.append(f"| `{name}` | {KINDS[type(metric)]} | {labels} | {metric._documentation} |")
    return rows


def _text(tree: Any, document: str) -> str:
    """Text of a document; empty if it does not exist, so that every row is reported as missing."""
    return str(tree.text(document)) if (tree.root / document).exists() else ""


def _table_rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| `")]


def _must_stand_in(tree: Any, document: str, rows: list[str]) -> None:
    missing = [row for row in rows if row not in _table_rows(_text(tree, document))]
    if missing:
        pytest.fail("\n".join([f"{document} lacks these rows:", *missing]), pytrace=False)


def test_every_settings_class_is_loaded_with_one_prefix(settings: dict[SettingsClass, set[str]]):
    """settings.load(…, prefix=…): two prefixes would be two names for one setting; without one it is dead."""
    assert {("bridge.settings", "Settings"), ("files.fit", "Settings")} <= settings.keys()
    assert {name: prefixes for name, prefixes in settings.items() if len(prefixes) != 1} == {}


def test_settings_classes_are_found_however_they_are_imported_and_loaded():
    """Own, imported, of an imported module; a prefix by keyword, by position, as a name; not a base class."""
    definition = "class Settings:\n    cars: int = setting('number of cars')\n"
    sources = {
        Path("a/own.py"): definition + "load(Settings, prefix='OWN')",
        Path("b/settings.py"): definition,
        Path("b/__main__.py"): "from b.settings import Settings\nservice.run('b', Settings)",
        Path("c/fit.py"): definition,
        Path("c/__init__.py"): "from c import fit\nread(fit.Settings, 'FIT', argv)",
        Path("d/unused.py"): definition,
        Path("e/plain.py"): "class Settings:\n    cars: int = 3\n",
        Path("f/part.py"): definition.replace("Settings", "Part"),
        Path("f/whole.py"): "from f.part import Part\n" + definition.replace("Settings", "Settings(Part)"),
        Path("f/__main__.py"): "from f.whole import Settings\nload(Settings, prefix='WHOLE')",
    }
    prefixes = {module: prefixes for (module, _), prefixes in settings_classes(sources).items()}
    assert prefixes == {
        "a.own": {"OWN"},
        "b.settings": {"B"},
        "c.fit": {"FIT"},
        "d.unused": set(),
        "f.whole": {"WHOLE"},
    }


def test_every_setting_is_documented(tree: Any, settings: dict[SettingsClass, set[str]]):
    """docs/settings.md has a row with flag, variable, default and meaning of each."""
    _must_stand_in(tree, "docs/settings.md", _settings_rows(settings))


def test_no_setting_is_documented_that_there_is_not(tree: Any, settings: dict[SettingsClass, set[str]]):
    """A setting that was renamed or removed is also removed from docs/settings.md."""
    known = set(_settings_rows(settings))
    assert [row for row in _table_rows(_text(tree, "docs/settings.md")) if row not in known] == []


@pytest.mark.parametrize("module", METRICS)
def test_every_metric_is_documented(tree: Any, module: str):
    """docs/metrics.md has a row with name, kind, labels and meaning of each."""
    rows = _metrics_rows(module)
    assert rows
    _must_stand_in(tree, "docs/metrics.md", rows)


def test_no_metric_is_documented_that_there_is_not(tree: Any):
    """What was renamed or removed is gone from docs/metrics.md, too."""
    known = {row for module in METRICS for row in _metrics_rows(module)}
    assert [row for row in _table_rows(_text(tree, "docs/metrics.md")) if row not in known] == []


@pytest.mark.parametrize("module", METRICS)
def test_metrics_are_named_after_their_service(module: str):
    """Metrics of different services can be distinguished on one dashboard."""
    service = module.partition(".")[0]
    assert all(row.startswith(f"| `{service}_") for row in _metrics_rows(module))


def _targets(tree: Any) -> set[str]:
    return set(re.findall(r"^([a-z][\w-]*):", _text(tree, "Makefile"), re.MULTILINE))


def _documents(tree: Any) -> dict[str, str]:
    # Decisions and the log tell of their day.
    files = [
        p for p in tree.files if p.suffix == ".md" and p.name != "CHANGELOG.md" and "decisions" not in p.parts
    ]
    return {str(path): tree.text(path) for path in files}


def test_every_make_target_in_the_documents_exists(tree: Any):
    """`make x` in a document is a target of the Makefile."""
    targets = _targets(tree)
    assert {"demo", "test", "check"} <= targets
    for name, text in _documents(tree).items():
        code = "\n".join(
            [*re.findall(r"`([^`\n]+)`", text), *re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)]
        )
        named = set(re.findall(r"(?:^|\s)make ([a-z][\w-]*)", code))
        assert named <= targets, f"{name}: {named - targets}"


def test_every_chaos_fault_is_in_the_table_of_guarantees(tree: Any):
    """docs/architecture.md names each fault beside the guarantee that it puts to the test."""
    text = _text(tree, "docs/architecture.md")
    assert [name for name in faults.FAULTS if f"`{name}`" not in text] == []


def test_every_module_in_the_documents_can_be_run(tree: Any):
    """`python -m x` in a document is a package with a __main__.py, a module, or a tool that is installed."""
    tools = {"pytest", "ruff", "mypy", "venv", "pip"}
    for name, text in _documents(tree).items():
        for module in re.findall(r"python3? -m (\w+(?:\.\w+)*)", text):
            path = tree.root / module.replace(".", "/")
            there = (path / "__main__.py").exists() or path.with_suffix(".py").exists()
            assert module in tools or there, f"{name}: {module}"


def test_every_link_to_a_file_leads_there(tree: Any):
    """Relative links of the documents; anchors are not followed."""
    for name, text in _documents(tree).items():
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if not re.match(r"[a-z]+:", target):
                path = (tree.root / name).parent / target
                assert path.exists(), f"{name}: {target}"


def test_every_message_that_the_faq_quotes_exists(tree: Any):
    """Each piece of a quoted message stands in a string of the code, or in local/setup."""
    code = [
        node.value
        for path in tree.python()
        for node in ast.walk(ast.parse(tree.text(path)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    text = "\n".join([*code, tree.text("local/setup")])
    quoted = re.findall(r'"([^"]+)"', tree.text("docs/faq.md"))
    pieces = [piece.strip() for message in quoted for piece in message.split("…")]
    assert [piece for piece in pieces if piece not in text] == []


def test_nothing_is_left_to_fill_in(tree: Any):
    """No placeholder in capitals, like the one where measured figures are to come."""
    for name, text in _documents(tree).items():
        assert not re.findall(r"^[A-Z]+_[A-Z_]+$", text, re.MULTILINE), name
