"""Alerts fire when they should, and only then: each case is played by Prometheus' own rule tester."""

from pathlib import Path
from typing import Any

import pytest

from tests.repo import promtool

CASES = promtool.cases()


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is wrong with the cases of each alert, of one run for all."""
    return promtool.play(Path(__file__).parents[2], CASES, tmp_path_factory.mktemp("promtool"))


@pytest.mark.parametrize("alert", sorted({case.alert for case in CASES}))
def test_it_fires_in_its_cases_and_only_there(alert: str, wrong: dict[str, str]):
    """With the labels and the summary that the case names."""
    assert not wrong[alert], wrong[alert]


def test_each_alert_has_a_case_that_fires_and_one_that_does_not(tree: Any):
    """Nobody sees otherwise that a rule never fires, or always."""
    rules = {rule["alert"] for group in promtool.groups(tree.root) for rule in group["rules"]}
    assert {case.alert for case in CASES if case.fires} == rules
    assert {case.alert for case in CASES if not case.fires} == rules


def test_a_wrong_expectation_is_seen(tmp_path: Path):
    """Or the test above would prove nothing."""
    fires = next(case for case in CASES if case.fires)
    silent = promtool.Case(fires.alert, fires.case, fires.series, fires.at_min)
    found = promtool.play(Path(__file__).parents[2], [silent], tmp_path)
    assert "FAILED" in found[fires.alert]


def test_only_summaries_have_values_in_them(tree: Any):
    """The cases do not show what is written into other annotations."""
    rules = [rule for group in promtool.groups(tree.root) for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 20
    assert not [
        r["alert"] for r in rules if any("{{" in v for k, v in r["annotations"].items() if k != "summary")
    ]
