"""The figures of every command, read from results as it writes them."""

import json
from pathlib import Path
from typing import Any

from loadtest.bench.report import BARS
from loadtest.load.budgets import BudgetLine
from tests.proofs import figures
from tests.proofs.proof import Ended, Finding


def ended(root: Path, log: str = "", seconds: float = 60.0, **results: Any) -> Ended:
    """A command that wrote results, by their path under var/ with `__` for `/`."""
    for name, content in results.items():
        path = root / "var" / f"{name.replace('__', '/')}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return Ended(0, seconds, root, log)


def unmet(findings: list[Finding]) -> list[str]:
    return [finding.promise for finding in findings if not finding.met]


def test_the_demo(tmp_path: Path):
    """Seconds, losses, latency, memory and foresight from its two files."""
    ledger = {
        "stages": [{"expected": 180_000, "lost": 0}, {"expected": 180_000, "lost": 2}],
        "seconds_to_first_anomaly": 97.8,
        "car_to_anomaly_ms": {"p50": 22.0, "p99": 1_047.0},
        "models": [{"to_first_batch_ms": {"a": 152}}, {"to_first_batch_ms": {"a": 169, "b": 172}}],
        "after_the_change_s": {"drift_seen": 9.0, "on_trial": 80.0, "promoted": 140.0},
        "memory_mib": 1_885,
    }
    seen = {"foreseen": 48, "failures": 78, "median_lead_s": 24.0, "confirmed": 52, "right": 46, "false": 17}
    card = {"foresight": {"all": seen}, "time_lapse": 1_200}
    results = {"proofs__demo__ledger": ledger, "proofs__demo__scorecard": card}
    found = {finding.promise: finding for finding in figures.demo(ended(tmp_path, **results))}
    assert found["records lost at any stage"].figure == "2 of 180 000"
    assert found["car to anomaly, p50 / p99"].figure == "22 ms / 1 047 ms"
    assert unmet(list(found.values())) == ["records lost at any stage", "car to anomaly, p50 / p99"]
    assert found["failures foreseen, median lead in hours of driving"].figure == "48 of 78, 8 h"
    assert found["a change of the fleet to the next champion, without a hand, s"].met
    ledger["after_the_change_s"] = {"promoted": None}
    never = figures.demo(ended(tmp_path, **results))
    assert "a change of the fleet to the next champion, without a hand, s" in unmet(never)
    assert found["a new model: published to the first batch of every replica, ms"].figure == "172"


def test_tests_are_counted_by_the_last_summary(tmp_path: Path):
    """It is the total of all groups; none passed is not met."""
    log = "e2e  12 passed in 3.01s (0.1 min)\n812 passed, 3 skipped in 480.10s (8.0 min)\nmake: done\n"
    (finding,) = figures.tests(ended(tmp_path, log))
    assert finding == Finding("tests", "812 passed, 3 skipped", "none fails", met=True)
    assert unmet(figures.tests(ended(tmp_path, "1 failed, 9 passed in 3.0s"))) == ["tests"]
    assert unmet(figures.tests(ended(tmp_path, "1 passed, 1 error in 3.0s"))) == ["tests"]
    assert unmet(figures.tests(ended(tmp_path, "make: nothing"))) == ["tests"]
    assert unmet(figures.timed_tests(ended(tmp_path, "9 passed in 599.0s", 600.0))) == ["all tests, min"]


def test_the_bench_has_a_row_for_each_bar(tmp_path: Path):
    """A peer or a stage that is missing is not met."""
    summary: dict[str, Any] = {
        stage: {key: bar.limit for key, bar in bars.items()} for stage, bars in BARS.items()
    }
    summary |= {"not_measured": {}, "failures": {}, "peers": {"telegraf": {}}}
    assert unmet(figures.bench(ended(tmp_path, bench__summary=summary))) == []
    summary["bridge"]["drain_us_per_msg"] = 1_000.0
    summary["not_measured"] = {"quix": "no wheel"}
    del summary["simulator"]
    assert unmet(figures.bench(ended(tmp_path, bench__summary=summary))) == [
        "bridge: drain_us_per_msg",
        "simulator: us_per_publish",
        "others' programs measured beside ours",
    ]


def test_the_scale_test_is_judged_by_its_own_bars(tmp_path: Path):
    """As they stand in its summary."""
    bars = [
        {"what": "cars connected", "figure": 100_000, "must_be": "at least", "limit": 100_000, "met": True},
        {"what": "p99, ms", "figure": None, "must_be": "at most", "limit": 1_000, "met": False},
    ]
    summary = {"bars": bars}
    findings = figures.scale(ended(tmp_path, scale__summary=summary))
    assert [(f.figure, f.bar, f.met) for f in findings] == [
        ("100 000", "≥ 100 000", True),
        ("-", "≤ 1 000", False),
    ]


def test_chaos(tmp_path: Path):
    """Every count must be 0, every fault injected, every recovery in time."""
    fault = {"fault": "bridge killed", "recovery_s": 3.5}
    ledger: dict[str, Any] = {
        "lost": 0, "order_violations": 0, "scored_twice": 0, "messages": 1_001_427,
        "faults": [fault, fault | {"recovery_s": 0.0}], "recovery_s_max": 15.0, "skipped": {}, "broken": [],
    }  # fmt: skip
    findings = figures.chaos(ended(tmp_path, chaos__ledger=ledger))
    assert unmet(findings) == []
    assert findings[0].figure == "0 of 1 001 427"
    worse = ledger | {
        "lost": 1,
        "skipped": {"disk full": "no root"},
        "faults": [fault | {"recovery_s": None}],
    }
    assert unmet(figures.chaos(ended(tmp_path, chaos__ledger=worse))) == [
        "records lost",
        "faults injected",
        "slowest recovery, s",
    ]


def test_quality(tmp_path: Path):
    """Three detectors' recall, then the command's own goals."""

    def detector(recall: float) -> dict[str, Any]:
        faults = {f"fault {number}": {"recall_at_0.1": 0.9} for number in range(6)}
        spread = {"recall_at_0.1": 0.01}
        return {"recall_at_0.1": recall, "median_lead_h": 11.5, "spread": spread, "per_fault": faults}

    card = {"detectors": {"ours": detector(0.87), "linear_conditional": detector(0.77)}}
    card["detectors"]["autoencoder_stateless"] = detector(0.4)
    findings = figures.quality(ended(tmp_path, quality__scorecard=card))
    assert findings[0].figure == "87% (11.5 h), 77% (11.5 h), 40% (11.5 h)"
    assert len(unmet(findings)) == 1
    assert "times the stateless autoencoder's" in unmet(findings)[0]


def test_budgets_of_the_load_test(tmp_path: Path):
    """Its own lines, as they are printed; none is not met."""
    lines = [
        BudgetLine("publish telemetry", "p99_ms_max", 500, 21),
        BudgetLine("sample to anomaly", "p50_ms_max", 200, None),
    ]
    log = "\n".join(["some text", *map(str, lines)])
    kept, broken = figures.load(ended(tmp_path, log))
    assert kept == Finding("publish telemetry: p99_ms", "21", "≤ 500", met=True)
    assert broken == Finding("sample to anomaly: p50_ms", "no request at all", "≤ 200", met=False)
    assert unmet(figures.load(ended(tmp_path))) == ["budgets"]


def test_the_plan(tmp_path: Path):
    """From the last line of --check."""
    (finding,) = figures.plan(ended(tmp_path, "the sum is at most 12% off; it may be 20%"))
    assert (finding.figure, finding.bar, finding.met) == ("12", "≤ 20", True)


def test_the_cluster(tmp_path: Path):
    """Tests, pauses and the ledger; pods that could not run are not met."""
    found = {
        "longest pause of a partition, scaled 1 to 3 to 1 (goal 1 s)": "0.91 s",
        "ledger, edge_kafka: lost / doubled of 60000": "0 / 12",
        "node ready": "3.1 s",
    }
    findings = figures.cluster(ended(tmp_path, "18 passed in 200.0s", cluster__figures=found))
    assert [finding.figure for finding in findings] == ["18 passed", "0.91", "0 / 12"]
    assert unmet(findings) == []
    without = ended(tmp_path, "3 passed in 9.0s", cluster__figures={"REAL PODS: NOT RUN": "not root"})
    assert unmet(figures.cluster(without)) == ["real pods"]


def test_life_counts_the_bars_of_each_experiment(tmp_path: Path):
    """A missed one is named with its figure."""
    bars = {
        "drift": {"triggered_s": {"text": "start of a training, s", "figure": 71.5, "met": False}},
        "trials": {"bad": {"text": "bad models", "figure": 0, "met": True}},
    }
    drift, trials = figures.life(ended(tmp_path, life__summary={"bars": bars}))
    assert drift == Finding("drift: bars met", "0 of 1; start of a training, s: 71.5", "all", met=False)
    assert trials == Finding("trials: bars met", "1 of 1", "all", met=True)
