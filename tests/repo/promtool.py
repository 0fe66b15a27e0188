"""Cases of alerts, in alerts/*.yaml, played by Prometheus' own `promtool test rules` on the rules of k8s/.

A case is the history of some series, one value a minute in promtool's notation (`0x10 1+2x5 _`), and the
alerts that fire at its end with the labels that they carry besides `severity`, and the summary that a person
reads. A case in which nothing fires is silent at every minute from `from_min` on, not only at the last.
"""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

CASES = Path(__file__).parent / "alerts"
RULES = Path("k8s/infrastructure/monitoring")
INTERVAL = "1m"


@dataclass(frozen=True)
class Case:
    """One history and what fires at its end."""

    alert: str
    case: str  # in words: what has happened
    series: dict[str, str]  # `metric{label="value"}`: its values, one a minute
    at_min: int  # the minute of its end
    fires: tuple[dict[str, str], ...] = ()  # labels and `summary` of each alert
    from_min: int = 0  # the first minute of silence, where something fires before


def cases() -> list[Case]:
    """All cases of alerts/*.yaml."""
    found = []
    for path in sorted(CASES.glob("*.yaml")):
        for fields in yaml.safe_load(path.read_text(encoding="utf-8")):
            case = Case(**{**fields, "fires": tuple(fields["fires"])})
            # YAML reads 0x30 as the number 48.
            assert all(isinstance(values, str) for values in case.series.values()), f"quote {case.series}"
            found.append(case)
    return found


def groups(root: Path) -> list[dict[str, Any]]:
    """The rule groups of all PrometheusRules of the repository at `root`."""
    found = []
    for path in sorted((root / RULES).glob("*/alerts.yaml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]["groups"]:
            found.append({**group, "name": f"{path.parent.name} {group['name']}"})
    return found


def play(root: Path, played: list[Case], folder: Path) -> dict[str, str]:
    """What promtool found wrong with the cases of each alert: "" where nothing is."""
    found = groups(root)
    rules = {rule["alert"]: rule for group in found for rule in group["rules"]}
    for rule in rules.values():
        rule["annotations"] = {"summary": rule["annotations"]["summary"]}  # the others have no values in them
    (folder / "rules.json").write_text(json.dumps({"groups": found}))
    alerts = sorted({case.alert for case in played})
    for alert in alerts:
        assert alert in rules, f"there is no alert {alert}"
        tests = [_as_test(case, rules[alert]) for case in played if case.alert == alert]
        content = {"rule_files": ["rules.json"], "evaluation_interval": INTERVAL, "tests": tests}
        (folder / f"{alert}.json").write_text(json.dumps(content))
    printed = _promtool("test", "rules", *(str(folder / f"{alert}.json") for alert in alerts))
    parts = re.split(r"^Unit Testing: +\S*?(\w+)\.json\n", printed, flags=re.M)
    by_alert = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert by_alert.keys() == set(alerts), printed
    return {alert: "" if text.strip() == "SUCCESS" else text for alert, text in by_alert.items()}


def _as_test(case: Case, rule: dict[str, Any]) -> dict[str, Any]:
    expected = []
    for alert in case.fires:
        labels = {name: value for name, value in alert.items() if name != "summary"}
        annotations = {"summary": alert["summary"]}
        expected.append({"exp_labels": rule["labels"] | labels, "exp_annotations": annotations})
    minutes = [case.at_min] if case.fires else range(case.from_min, case.at_min + 1)
    return {
        "name": case.case,
        "interval": INTERVAL,
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [
            {"alertname": case.alert, "eval_time": f"{minute}m", "exp_alerts": expected} for minute in minutes
        ],
    }


def _promtool(*arguments: str) -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.fail("no promtool: `local/setup --dev` installs it (package prometheus)")
    # What failed goes to stderr, which case it was to stdout: in one pipe they keep their order.
    out = subprocess.PIPE
    return subprocess.run(
        [found, *arguments], stdout=out, stderr=subprocess.STDOUT, text=True, check=False
    ).stdout
