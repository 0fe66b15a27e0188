"""What a run took against what it may take."""

from pathlib import Path

import pytest

from loadtest.load import budgets
from loadtest.load.budgets import ANOMALY, CONNECT, PUBLISH, Budget, Measured
from plumbing.settings import SettingsError

TOOK = {PUBLISH: Measured(requests=1_000, failures=2, p50_ms=5, p99_ms=80)}


def test_a_breach_is_told_by_name_and_figure():
    """Which request, which limit, allowed and measured; what is kept is not broken."""
    limits = {PUBLISH: Budget(p50_ms_max=5, p99_ms_max=50, failure_share_max=0.001)}
    lines = budgets.judge(limits, TOOK, [PUBLISH])
    assert [(line.limit, line.allowed, line.measured) for line in lines if line.broken] == [
        ("p99_ms_max", 50, 80),
        ("failure_share_max", 0.001, 0.002),
    ]
    assert "BROKEN" in str(lines[1])
    assert "kept" in str(lines[0])


def test_what_was_to_be_measured_and_was_not_is_broken():
    """A run without one anomaly has not kept the budget of anomalies; one without followers has none."""
    limits = {ANOMALY: Budget(p99_ms_max=1_000), CONNECT: Budget(p99_ms_max=1)}
    (line,) = budgets.judge(limits, TOOK, [PUBLISH, ANOMALY])
    assert line.broken
    assert "no request" in str(line)


def test_no_number_keeps_no_budget():
    """NaN is over every limit."""
    nan = {PUBLISH: Measured(requests=1, failures=0, p50_ms=float("nan"), p99_ms=float("nan"))}
    assert all(line.broken for line in budgets.judge({PUBLISH: Budget(p99_ms_max=9)}, nan, []))


def test_the_file_limits_every_request():
    """budgets.toml is sound and names all that is measured."""
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
    """With the file's and the limit's name: a misspelt budget would be none."""
    path = tmp_path / "budgets.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="budgets") as error:
        budgets.read(path)
    assert named in str(error.value)
