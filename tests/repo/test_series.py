"""Every labelled counter has its series from the start: a rate, an alert and a board need a first value."""

import re
import subprocess
import sys
from collections import defaultdict
from typing import Any

import pytest

from tests.repo.test_docs import METRICS

# By counter: the files that may raise Malformed with the reason that it counts.
MAY_RAISE = {
    "bridge_rejected_messages_total": (
        "contract/topics.py",
        "contract/records.py",
        "contract/bounds.py",
        "bridge/routing.py",
        "bridge/pipeline.py",
    ),
    "scorer_rejected_records_total": (
        "contract/telemetry.py",
        "contract/records.py",
        "contract/bounds.py",
        "scorer/scoring.py",
    ),
    "scorer_model_refusals_total": ("contract/manifest.py", "contract/records.py", "scorer/model.py"),
}
# Topics that MirrorMaker copies (tests/integration/local/test_mirror.py), edges that a setting names
# (tests/unit/trainer/test_arrived.py).
KNOWN_LATER = {
    "mirror_missing_records_total",
    "trainer_judged_records_total",
    "trainer_opened_alerts_total",
}


@pytest.fixture(scope="module")
def series() -> dict[str, set[str]]:
    """By counter the values of its first label, in a process that has only just started."""
    script = "import importlib, sys, prometheus_client as p; "
    script += "[importlib.import_module(name) for name in sys.argv[1:]]; print(p.generate_latest().decode())"
    done = subprocess.run(
        [sys.executable, "-c", script, *METRICS], capture_output=True, text=True, check=True
    )
    found = defaultdict[str, set[str]](set)
    for name, value in re.findall(r'^(\w+_total)\{\w+="(\w+)"[^}]*\} 0\.0$', done.stdout, re.MULTILINE):
        found[name].add(value)
    return found


def _labelled_counters(tree: Any) -> dict[str, tuple[str, str]]:
    """By counter: the folder and the name of the variable."""
    found = {}
    for module in METRICS:
        path = module.replace(".", "/") + ".py"
        for variable, name in re.findall(
            r'^(\w+) = Counter\(\s*"(\w+)",(?:[^()]|\([^()]*\))*?\[', tree.text(path), re.MULTILINE
        ):
            found[f"{name}_total"] = (module.rpartition(".")[0].replace(".", "/"), variable)
    return found


def test_every_labelled_counter_has_series_at_the_start(tree: Any, series: dict[str, set[str]]):
    """All with value 0, before anything has happened."""
    labelled = set(_labelled_counters(tree))
    assert {"bridge_rejected_messages_total", "trainer_decisions_total"} <= labelled
    assert labelled - KNOWN_LATER <= set(series)


def test_what_the_code_counts_is_there_at_the_start(tree: Any, series: dict[str, set[str]]):
    """Each label that a service's code names, and each reason for which the bytes it reads are refused."""
    missing = []
    for counter, (folder, variable) in _labelled_counters(tree).items():
        pattern = re.compile(rf'metrics\.{variable}\.labels\(\s*"(\w+)"(?: if .*? else "(\w+)")?')
        named = {
            label
            for path in tree.python(folder.split("/")[0])
            for pair in pattern.findall(tree.text(path))
            for label in pair
            if label
        }
        for path in MAY_RAISE.get(counter, ()):
            raised = re.findall(r'Malformed\(\s*"(\w+)"', tree.text(path))
            assert raised, path
            named |= set(raised)
        missing += [f"{counter}: {label}" for label in sorted(named - series.get(counter, set()))]
    assert not missing


def test_every_file_that_refuses_bytes_is_counted(tree: Any):
    """A new module with reasons of its own belongs to a counter above."""
    known = {path for paths in MAY_RAISE.values() for path in paths}
    raising = {
        str(path)
        for path in tree.python("contract", "bridge", "scorer", "mirror")
        if re.search(r'Malformed\(\s*"', tree.text(path))
    }
    assert raising == known
