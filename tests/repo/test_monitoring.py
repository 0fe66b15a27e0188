"""Alerts and dashboards speak of metrics that there are."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.topics import TELEMETRY_PARTITIONS
from mirror.settings import Settings as MirrorSettings

FOLDER = Path("k8s/infrastructure/monitoring")

# What is not ours, and where its name comes from.
EXPORTED = {
    # Prometheus itself: 1 where a target answered.
    "up",
    # sapcc/mosquitto-exporter, main.go: a topic of $SYS without its root, "/" as "_".
    "broker_publish_messages_dropped",
    # Strimzi's Kafka exporter (spec.kafkaExporter), that is danielqsj/kafka_exporter: README, "Topics".
    "kafka_topic_partition_current_offset",
    # kubernetes/kube-state-metrics, docs/metrics/workload/job-metrics.md.
    "kube_job_status_failed",
}
WORDS = {
    "by",
    "or",
    "and",
    "unless",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "without",
    "bool",
    "offset",
}


def _files(tree: Any, suffix: str) -> list[Path]:
    return [path for path in tree.files if FOLDER in path.parents and path.suffix == suffix]


def _groups(tree: Any) -> Iterator[dict[str, Any]]:
    for path in _files(tree, ".yaml"):
        for document in yaml.safe_load_all(tree.text(path)):
            if isinstance(document, dict) and document["kind"] == "PrometheusRule":  # a patch is a list
                yield from document["spec"]["groups"]


def _rules(tree: Any) -> Iterator[dict[str, Any]]:
    for group in _groups(tree):
        yield from group["rules"]


def _queries(tree: Any) -> list[str]:
    queries = [rule["expr"] for rule in _rules(tree)]
    return [*queries, *(expr for _, expr in _panels(tree))]


def _panels(tree: Any) -> Iterator[tuple[str, str]]:
    """Title and expression of each query of each board."""
    for path in _files(tree, ".json"):
        for panel in json.loads(tree.text(path))["panels"]:
            for target in panel["targets"]:
                yield panel["title"], target["expr"]


def test_boards_look_at_all_of_the_time_that_they_show(tree: Any):
    """A fixed window leaves out what lies between two points of a graph over days."""
    windows = [
        (title, window) for title, expr in _panels(tree) for window in re.findall(r"\[(.+?)\]", _bare(expr))
    ]
    assert len(windows) > 10
    fixed = [(title, window) for title, window in windows if window != "$__rate_interval"]
    assert all(window == "1h" and title.endswith("in an hour") for title, window in fixed)


def _bare(expr: str) -> str:
    return re.sub(r"\{[^}]*\}", "", expr)


def test_offsets_are_not_called_records(tree: Any):
    """Where a writer uses transactions each one leaves a marker, which has an offset, too."""
    shown = [title for title, expr in _panels(tree) if "current_offset" in expr]
    assert shown
    assert all("offsets" in title for title in shown)


def test_every_alert_is_in_the_runbook(tree: Any):
    """docs/operations.md has a row for each alert: what it means and what to do."""
    runbook = tree.text("docs/operations.md")
    assert not [rule["alert"] for rule in _rules(tree) if f"| `{rule['alert']}` |" not in runbook]


def metrics_in(query: str) -> set[str]:
    """The metrics of a PromQL expression: names that are no function, label or word of the language."""
    query = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", query)
    query = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", query)
    return {
        name
        for name, call in re.findall(r"\b([a-zA-Z_:][\w:]*)\s*(\(?)", query)
        if not call and name not in WORDS
    }


def _documented(tree: Any) -> set[str]:
    names = set()
    for name, kind in re.findall(r"^\| `(\w+)` \| (\w+) \|", tree.text("docs/metrics.md"), re.MULTILINE):
        names |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    return names


def test_every_metric_in_alerts_and_dashboards_exists(tree: Any):
    """Ours stand in docs/metrics.md, which is compared with the code; the others' have their source above."""
    used = {name for query in _queries(tree) for name in metrics_in(query)}
    assert used
    assert used - _documented(tree) - EXPORTED == set()
    assert used >= EXPORTED


def test_a_counter_that_has_risen_before_its_first_scrape_rings(tree: Any):
    """A rule that rings with the first increase takes a series that is new within the window from 0."""
    rung = 0
    for rule in _rules(tree):
        expr = " ".join(rule["expr"].split())
        if expr.endswith("> 0"):
            for name, window in re.findall(r"increase\((\w+)\[(\w+)\]\)", expr):
                assert f"{name} unless {name} offset {window} or increase" in expr, rule["alert"]
                rung += 1
    assert rung >= 8


def test_all_that_is_measured_of_models_at_work_is_shown(tree: Any):
    """Each metric of the watcher and of a trial in the scorers is on a board or in an alert."""
    used = {name for query in _queries(tree) for name in metrics_in(query)}
    prefixes = ("trainer_", "scorer_challenger", "scorer_evidence")
    shown = {name for name in _documented(tree) if name.startswith(prefixes)}
    assert len(shown) > 20
    assert shown - used == set()


@pytest.mark.parametrize(
    ("query", "metrics"),
    [
        ('sum by (reason) (increase(a_total{x="y"}[5m])) > 0 or b', {"a_total", "b"}),
        ("sum(a) / clamp_min(sum(rate(b_total[5m])), 1) > 30", {"a", "b_total"}),
        ("(sum(a) or vector(0)) < 12", {"a"}),
    ],
)
def test_metrics_are_found_in_a_query(query: str, metrics: set[str]):
    """Or the test above would compare nothing."""
    assert metrics_in(query) == metrics


def test_the_alerts_that_a_fleet_needs_are_there(tree: Any):
    """Lag, dead letters, dropped MQTT messages, no model, stale replication; each says what to do."""
    rules = {rule["alert"]: rule for rule in _rules(tree)}
    assert {"ScorersBehind", "DeadLetters", "MqttMessagesDropped", "NoModel", "ReplicationStale"} <= set(
        rules
    )
    for name, rule in rules.items():
        assert rule["labels"]["severity"] in ("warning", "critical"), name
        assert {"summary", "action"} <= set(rule["annotations"]), name


def test_the_number_of_partitions_is_the_topics(tree: Any):
    """It cannot be asked for in PromQL, so it stands there twice."""
    (rule,) = (rule for rule in _rules(tree) if rule["alert"] == "PartitionsWithoutScorer")
    assert rule["expr"].endswith(f"< {TELEMETRY_PARTITIONS}")
    assert f"of {TELEMETRY_PARTITIONS} partitions" in rule["annotations"]["summary"]


def test_a_gap_in_the_replication_rings_within_a_minute(tree: Any):
    """The worst case: just missed by a look of the watch, by the scrape and by the rules."""
    rules = {rule["alert"]: (rule, group) for group in _groups(tree) for rule in group["rules"]}
    rule, group = rules["ReplicationGap"]
    (scraped,) = yaml.safe_load(tree.text(FOLDER / "edge/services.yaml"))["spec"]["podMetricsEndpoints"]
    (looks,) = (field.default for field in fields(MirrorSettings) if field.name == "look_every_s")
    assert "LOOK_EVERY" not in tree.text("k8s/apps/mirror/settings.env")
    waits = [rule.get("for", "0s"), group["interval"], scraped["interval"]]
    a_look_takes_s = 5  # on a busy machine: integration/local/test_mirror.py
    assert looks + a_look_takes_s + sum(int(wait.removesuffix("s")) for wait in waits) <= 60


@pytest.mark.parametrize("site", ["edge", "cloud"])
def test_what_is_scraped_is_what_pods_offer(tree: Any, site: str):
    """The PodMonitor's port and labels are those of the services' pods."""
    (monitor,) = (
        document
        for document in yaml.safe_load_all(tree.text(FOLDER / site / "services.yaml"))
        if document["kind"] == "PodMonitor"
    )
    names = next(
        rule["values"]
        for rule in monitor["spec"]["selector"]["matchExpressions"]
        if rule["key"] == "app.kubernetes.io/name"
    )
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    for name in names:
        workloads = [
            document
            for path in tree.files
            if Path("k8s/apps") in path.parents and path.suffix == ".yaml"
            for document in yaml.safe_load_all(tree.text(path))
            if document["kind"] in ("Deployment", "StatefulSet") and document["metadata"]["name"] == name
        ]
        assert workloads
        for workload in workloads:
            template = workload["spec"]["template"]
            assert template["metadata"]["labels"]["app.kubernetes.io/part-of"] == "connected-cars"
            ports = [port["name"] for one in template["spec"]["containers"] for port in one.get("ports", [])]
            assert endpoint["port"] in ports, name
