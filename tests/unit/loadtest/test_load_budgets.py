"""Budgets of a load test and their verdicts."""

from pathlib import Path

import pytest

from loadtest.load import budgets
from loadtest.load.budgets import ANOMALY, CONNECT, PUBLISH
from plumbing.settings import SettingsError

STATS = {PUBLISH: {"p50_ms_max": 5, "p99_ms_max": 80, "failure_share_max": 0.002}}


def test_a_broken_limit_is_named_with_its_figures():
    """Request, limit, allowed and measured; a figure equal to its limit keeps it."""
    limits = {PUBLISH: {"p50_ms_max": 5, "p99_ms_max": 50, "failure_share_max": 0.001}}
    lines = budgets.judge(limits, STATS, [PUBLISH])
    assert [(line.limit, line.allowed, line.measured) for line in lines if line.broken] == [
        ("p99_ms_max", 50, 80),
        ("failure_share_max", 0.001, 0.002),
    ]
    assert "BROKEN" in str(lines[1])
    assert "kept" in str(lines[0])


def test_an_expected_request_that_was_never_made_breaks_its_budget():
    """A budget for requests that were neither expected nor made gets no line."""
    limits = {ANOMALY: {"p99_ms_max": 1_000}, CONNECT: {"p99_ms_max": 1}}
    (line,) = budgets.judge(limits, STATS, [PUBLISH, ANOMALY])
    assert line.broken
    assert "no request" in str(line)


def test_nan_breaks_every_limit():
    """NaN is not at most any number."""
    nan = {PUBLISH: {"p99_ms_max": float("nan")}}
    assert all(line.broken for line in budgets.judge({PUBLISH: {"p99_ms_max": 9}}, nan, []))


def test_budgets_toml_has_a_table_for_every_request():
    """The file can be read and names every kind of request."""
    assert set(budgets.read(budgets.DEFAULT)) == set(budgets.NAMES)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('["publish"]\np99_ms_max = 1', "'publish'"),
        ('["connect"]\np98_ms_max = 1', "p98_ms_max"),
        ('["connect"]\np99_ms_max = "1"', "p99_ms_max"),
        ('["connect"]\np99_ms_max = -1', "p99_ms_max"),
        ("connect = 3", "connect"),
        ("=", "budgets"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, named: str):
    """The error names the file and the limit: a misspelt limit would limit nothing."""
    path = tmp_path / "budgets.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="budgets") as error:
        budgets.read(path)
    assert named in str(error.value)
