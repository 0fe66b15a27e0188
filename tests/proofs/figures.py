"""The figures of each command, read from the files that it writes or from its last lines.

Bars come from where the code has them. Those of the demo and of the tests stand nowhere else than here.
"""

import json
import math
import re
from typing import Any

from loadtest.bench.report import BARS
from loadtest.output import Bar, shown
from local.screen import milliseconds, number
from quality import goals
from tests.proofs.proof import Ended, Finding

DEMO_ANOMALY_S_MAX, DEMO_P99_MS_MAX, DEMO_SWAP_MS_MAX, DEMO_MIB_MAX = 240, 1_000, 5_000, 4_096
TEST_MINUTES_MAX = 8.0
DEMO_PROMOTED_S_MAX = 300.0
_COUNTS = re.compile(r"(\d+) (passed|failed|errors?|skipped)\b")
_SUMMARY = re.compile(r"\bin \d+\.\d+s\b")
_BUDGET = re.compile(r"^(\S.*?)\s{2,}(\w+_max)\s+(\S+)\s+(\S.*?)\s{2,}(kept|BROKEN)$", re.MULTILINE)
_PLAN = re.compile(r"the sum is at most (\d+)% off; it may be (\d+)%")


def demo(ended: Ended) -> list[Finding]:
    """The demo from a fresh clone; demo.sh copies its results."""
    ledger, card = (_json(ended, f"var/proofs/demo/{name}.json") for name in ("ledger", "scorecard"))
    first_s, latency, seen = (
        ledger["seconds_to_first_anomaly"],
        ledger["car_to_anomaly_ms"],
        card["foresight"]["all"],
    )
    swap_ms = max(ledger["models"][-1]["to_first_batch_ms"].values())
    stages, lead_h = ledger["stages"], (seen["median_lead_s"] or 0) * card["time_lapse"] / 3600
    sent, lost = stages[0]["expected"], max(stage["lost"] for stage in stages)
    foreseen = f"{seen['foreseen']} of {seen['failures']}, {lead_h:.0f} h"
    alerts = f"{seen['confirmed']}, {seen['right']}, {seen['false']}"
    return [
        _at_most("fresh clone to the first anomaly, s", first_s, DEMO_ANOMALY_S_MAX),
        Finding("records lost at any stage", f"{lost} of {number(sent)}", "0", lost == 0),
        Finding(
            "car to anomaly, p50 / p99",
            f"{milliseconds(latency['p50'])} / {milliseconds(latency['p99'])}",
            f"p99 ≤ {number(DEMO_P99_MS_MAX)} ms",
            latency["p99"] <= DEMO_P99_MS_MAX,
        ),
        _at_most("a new model: published to the first batch of every replica, ms", swap_ms, DEMO_SWAP_MS_MAX),
        _at_most(
            "a change of the fleet to the next champion, without a hand, s",
            ledger["after_the_change_s"]["promoted"] or math.inf,
            DEMO_PROMOTED_S_MAX,
        ),
        _at_most("memory of all processes, MiB", ledger["memory_mib"], DEMO_MIB_MAX),
        Finding("failures foreseen, median lead in hours of driving", foreseen, "some", seen["foreseen"] > 0),
        Finding("alerts confirmed, component right, false", alerts, "some confirmed", seen["confirmed"] > 0),
    ]


def tests(ended: Ended) -> list[Finding]:
    """The last summary line of pytest, which is the total where tests run in groups."""
    counts = dict.fromkeys(("passed", "failed", "error", "skipped"), 0)
    last = next((line for line in reversed(ended.log.splitlines()) if _SUMMARY.search(line)), "")
    counts |= {what.removesuffix("s"): int(count) for count, what in _COUNTS.findall(last)}
    bad = counts["failed"] + counts["error"]
    figure = ", ".join(f"{number(count)} {what}" for what, count in counts.items() if count) or "none ran"
    return [Finding("tests", figure, "none fails", bad == 0 and counts["passed"] > 0)]


def timed_tests(ended: Ended) -> list[Finding]:
    """The tests of `make test`, whose time has a bar, too."""
    return [*tests(ended), _at_most("all tests, min", round(ended.seconds / 60, 1), TEST_MINUTES_MAX)]


def bench(ended: Ended) -> list[Finding]:
    """Every figure that has a bar, and which of the others' programs were measured."""
    summary = _json(ended, "var/bench/summary.json")
    findings = [
        Finding(f"{stage}: {key}", shown(figure), str(bar), figure is not None and bar.met(figure))
        for stage, bars in BARS.items()
        for key, bar in bars.items()
        for figure in [summary.get(stage, {}).get(key)]  # a stage that failed has none
    ]
    missing = [*summary["not_measured"], *summary["failures"]]
    peers = ", ".join(summary["peers"]) or "none"
    without = f"; not: {', '.join(missing)}" if missing else ""
    return [*findings, Finding("others' programs measured beside ours", peers + without, "all", not missing)]


def scale(ended: Ended) -> list[Finding]:
    """The bars of the command itself."""
    rows = _json(ended, "var/scale/summary.json")["bars"]
    return [
        Finding(
            row["what"],
            shown(row["figure"]),
            str(Bar(row["limit"], row["must_be"] == "at least")),
            row["met"],
        )
        for row in rows
    ]


def chaos(ended: Ended) -> list[Finding]:
    """The ledger over all faults."""
    ledger = _json(ended, "var/chaos/ledger.json")
    faults, messages = ledger["faults"], number(ledger["messages"])
    recoveries = [float("inf") if fault["recovery_s"] is None else fault["recovery_s"] for fault in faults]
    slowest_s = max(recoveries, default=float("inf"))
    counts = {"lost": "lost", "order_violations": "out of order", "scored_twice": "scored twice"}
    findings = [
        Finding(f"records {words}", f"{ledger[key]} of {messages}", "0", ledger[key] == 0)
        for key, words in counts.items()
    ]
    skipped = ledger["skipped"]
    ran = f"{len(faults)}" + (f", skipped: {', '.join(skipped)}" if skipped else "")
    return [
        *findings,
        Finding("faults injected", ran, "all", bool(faults) and not skipped),
        _at_most("slowest recovery, s", slowest_s, ledger["recovery_s_max"]),
        Finding("guarantees broken", "; ".join(ledger["broken"]) or "none", "none", not ledger["broken"]),
    ]


def quality(ended: Ended) -> list[Finding]:
    """The recall of three detectors, then the goals as the command itself judges them."""
    card = _json(ended, "var/quality/scorecard.json")
    names = (goals.OURS, goals.LINEAR, goals.AUTOENCODER)
    rows = [card["detectors"][name] for name in names]
    recalls = [row["recall_at_0.1"] for row in rows]
    words = (
        f"{recall:.0%} ({row['median_lead_h'] or 0:.1f} h)" for recall, row in zip(recalls, rows, strict=True)
    )
    promise = "failures foreseen at 0.1 false alarms per car-week, median lead: ours, linear, autoencoder"
    ours_first = recalls[0] == max(recalls)
    return [
        Finding(promise, ", ".join(words), "ours most", ours_first),
        *(Finding(goal.text, goal.figure, "reached", goal.reached) for goal in goals.goals(card)),
    ]


def life(ended: Ended) -> list[Finding]:
    """For each experiment, which of its bars were met; the figures stand in its summary."""
    findings = []
    for experiment, bars in _json(ended, "var/life/summary.json")["bars"].items():
        missed = [f"{bar['text']}: {shown(bar['figure'])}" for bar in bars.values() if not bar["met"]]
        figure = f"{len(bars) - len(missed)} of {len(bars)}" + "".join(f"; {each}" for each in missed)
        findings.append(Finding(f"{experiment}: bars met", figure, "all", not missed))
    return findings


def load(ended: Ended) -> list[Finding]:
    """The budgets as locust's last lines judge them."""
    findings = [
        Finding(f"{request}: {limit.removesuffix('_max')}", figure, f"≤ {bar}", verdict == "kept")
        for request, limit, bar, figure, verdict in _BUDGET.findall(ended.log)
    ]
    return findings or [Finding("budgets", "none was judged", "kept", met=False)]


def plan(ended: Ended) -> list[Finding]:
    """How far the predicted cores are off at rates that were held out."""
    off, allowed = _PLAN.findall(ended.log)[-1]
    return [_at_most("predicted cores off the measured ones, %", float(off), float(allowed))]


def cluster(ended: Ended) -> list[Finding]:
    """The tests, and the figures that they gather: pauses, the ledger, whether real pods ran."""
    from tests.cluster.test_pods import PAUSE_S_MAX

    findings = tests(ended)
    for what, figure in _json(ended, "var/cluster/figures.json").items():
        if what.startswith("longest pause"):
            findings.append(_at_most(f"{what}, s", float(figure.removesuffix(" s")), PAUSE_S_MAX))
        elif what.startswith("ledger"):
            findings.append(Finding(what, figure, "lost 0", figure.startswith("0 /")))
        elif what.startswith(("REAL PODS", "PODS DID NOT")):
            findings.append(Finding("real pods", figure, "run", met=False))
    return findings


def _at_most(promise: str, figure: float | None, bar: float) -> Finding:
    text = "-" if figure is None else number(figure) if figure >= 1_000 else f"{figure:g}"
    return Finding(promise, text, f"≤ {number(bar)}", figure is not None and figure <= bar)


def _json(ended: Ended, path: str) -> Any:
    return json.loads((ended.root / path).read_text(encoding="utf-8"))
