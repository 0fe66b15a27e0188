"""Debian's Prometheus and Alertmanager beside a deployment, with the rules and boards of k8s/.

Targets have the labels that the Prometheus operator gives them. Grafana itself is not run: its variables are
replaced here, and how it draws a board is not tested.
"""

import functools
import json
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from local.deployment import Deployment
from local.java import ROOT
from local.supervisor import Child
from plumbing import web
from tests.integration.ports import free_port
from tests.repo import promtool

SCRAPE_INTERVAL = "1s"
RATE_INTERVAL = "15s"  # what Grafana would put for $__rate_interval
# Metrics of exporters that only run on Kubernetes.
OF_EXPORTERS = {
    "kafka_topic_partition_current_offset": "the Kafka exporter of Strimzi",
    "broker_publish_messages_dropped": "sapcc/mosquitto-exporter beside each mosquitto",
}


class Monitoring:
    """Both programs as children of the deployment's supervisor, which ends them."""

    def __init__(self, deployment: Deployment) -> None:
        self._port, self._alertmanager = free_port(), free_port()
        self._targets = _targets(deployment)
        folder = deployment.plan.run_dir / "monitoring"
        folder.mkdir()
        (folder / "rules.json").write_text(json.dumps({"groups": promtool.groups(ROOT)}))
        (folder / "prometheus.json").write_text(json.dumps(self._config()))
        receiver = {"route": {"receiver": "nobody", "group_wait": "0s"}, "receivers": [{"name": "nobody"}]}
        (folder / "alertmanager.json").write_text(json.dumps(receiver))
        alertmanager = [f"--storage.path={folder / 'alerts'}", "--cluster.listen-address="]
        prometheus = [f"--storage.tsdb.path={folder / 'series'}"]
        for program, port, flags in (
            ("prometheus-alertmanager", self._alertmanager, alertmanager),
            ("prometheus", self._port, prometheus),
        ):
            name = program.rpartition("-")[2]
            flags += [f"--config.file={folder / name}.json", f"--web.listen-address=127.0.0.1:{port}"]
            argv = [_installed(program), *flags]
            deployment.supervisor.start(Child(name, argv, functools.partial(_is_ready, port)))
        deployment.supervisor.wait_ready(["alertmanager", "prometheus"], 30)

    def without_data(self) -> dict[str, str]:
        """Expressions of the boards that return nothing, and the panel; those of exporters are left out."""
        ours = {expr: panel for expr, panel in _expressions() if not _of_exporter(expr)}
        return {expr: panel for expr, panel in ours.items() if not self.query(expr)}

    def query(self, expr: str) -> list[Any]:
        """The series of an expression now, with their values."""
        data = self._get(self._port, f"/api/v1/query?query={quote(expr)}")["data"]
        return list(data["result"])

    def down(self) -> set[str]:
        """Pods that did not answer when they were scraped last, or not yet: the first time takes 5 s."""
        active = self._get(self._port, "/api/v1/targets?state=active")["data"]["activeTargets"]
        up = {each["labels"]["pod"] for each in active if each["health"] == "up"}
        return {pod for _, _, pod, _ in self._targets} - up

    def failed_rules(self) -> list[str]:
        """Rules that could not be evaluated."""
        every = self._get(self._port, "/api/v1/rules")["data"]["groups"]
        return [rule["name"] for group in every for rule in group["rules"] if rule["health"] == "err"]

    def received(self) -> set[str]:
        """Names of the alerts that the Alertmanager has received."""
        return {alert["labels"]["alertname"] for alert in self._get(self._alertmanager, "/api/v2/alerts")}

    def _config(self) -> dict[str, Any]:
        jobs = sorted({job for job, *_ in self._targets})
        alertmanager = {"static_configs": [{"targets": [f"127.0.0.1:{self._alertmanager}"]}]}
        return {
            "global": {"scrape_interval": SCRAPE_INTERVAL, "evaluation_interval": SCRAPE_INTERVAL},
            "rule_files": ["rules.json"],
            "alerting": {"alertmanagers": [alertmanager]},
            "scrape_configs": [
                {
                    "job_name": job,
                    "static_configs": [
                        {"targets": [f"127.0.0.1:{port}"], "labels": {"pod": pod, "container": container}}
                        for its_job, container, pod, port in self._targets
                        if its_job == job
                    ],
                }
                for job in jobs
            ],
        }

    @staticmethod
    def _get(port: int, path: str) -> Any:
        with web.opened(f"http://127.0.0.1:{port}{path}", timeout_s=5) as answer:
            return json.load(answer)


def _installed(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.fail(f"no {program}: `local/setup --dev` installs it")
    return path


def _targets(deployment: Deployment) -> list[tuple[str, str, str, int]]:
    """(job, container, pod, port) of each service; a PodMonitor's job is its namespace and name."""
    ports = deployment.plan.ports
    services, watcher = "connected-cars/services", "connected-cars/watcher"
    return [
        (services, "simulator", "simulator-0", ports.simulator),
        (services, "mirror-watch", "mirror-watch-0", ports.mirror_watch),
        (watcher, "watcher", "watcher-0", ports.watcher),
        *((services, "bridge", f"bridge-{n}", ports.bridge(n)) for n in range(deployment.plan.bridges)),
        *((services, "scorer", f"scorer-{n}", ports.scorer(n)) for n in range(deployment.plan.scorers)),
    ]


def _expressions() -> Iterator[tuple[str, str]]:
    """Each expression of each board, with the panel's title."""
    for path in sorted((ROOT / promtool.RULES).glob("*/*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                expr = target["expr"].replace("$__rate_interval", RATE_INTERVAL)
                assert "$" not in expr
                yield expr, panel["title"]


def _of_exporter(expr: str) -> bool:
    return any(name in expr for name in OF_EXPORTERS)


def _is_ready(port: int) -> bool:
    try:
        with web.opened(f"http://127.0.0.1:{port}/-/ready", timeout_s=1):
            return True
    except OSError:
        return False
