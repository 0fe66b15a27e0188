"""What the tests of this folder see of the cluster and its pods."""

import itertools
import json
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from cluster.cluster import LocalCluster
from contract import records
from contract.topics import AUDIT, TELEMETRY_PARTITIONS
from local.deployment import Deployment
from local.java import ROOT
from local.store import STORE
from local.watch import scrape
from plumbing import kafka

CARS, RATE_HZ = 500, 2.0
# After most of the tests a sensor of some cars reads otherwise: what the watcher is there for.
CHANGE = {"recalibrated": 0.25, "recalibrated_factor": 1.03, "recalibrated_at_s": 240.0}
RUN = ROOT / "var/cluster"
# Each pod listens on a loopback address of its own (k8s/components/host-network/loopback.sh).
PODS_METRICS = 9100


class World:
    """The cluster with a node, the brokers outside of it, and what can be seen of the pods."""

    def __init__(self, cluster: LocalCluster, deployment: Deployment) -> None:
        self.cluster, self.deployment = cluster, deployment
        self._audits: list[dict[str, Any]] = []
        self._reader = kafka.consumer(deployment.edge.bootstrap, group_id="cluster-tests")
        self._reader.assign([TopicPartition(AUDIT, number, 0) for number in range(TELEMETRY_PARTITIONS)])

    def close(self) -> None:
        """Leave Kafka."""
        self._reader.close()

    def until(self, condition: Callable[[], Any], what: str, timeout_s: float = 90.0) -> Any:
        """The first true result of `condition`; fails, naming `what`, where there is none in time."""
        deadline = time.monotonic() + timeout_s
        while not (found := condition()):
            for supervisor in (self.deployment.supervisor, self.cluster.supervisor):
                supervisor.tick()
            if time.monotonic() > deadline:
                pods = self.cluster.ask("get", "pods,events", "--sort-by=.metadata.creationTimestamp").stdout
                pytest.fail(f"not within {timeout_s:.0f} s: {what}\n{pods[-6000:]}")
            time.sleep(0.2)
        return found

    def pods(self, app: str) -> list[str]:
        """Names of the pods that are ready and not ending."""
        selector = f"app.kubernetes.io/name={app}"
        found = json.loads(self.cluster.kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
        return [
            pod["metadata"]["name"]
            for pod in found
            if "deletionTimestamp" not in pod["metadata"]
            and any(
                c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ())
            )
        ]

    def metric(self, pod: str, name: str) -> float:
        """A pod's metric, labels added up; 0 where it does not answer."""
        host, port = metrics_address(pod)
        return scrape(port, host).get(name, 0.0)

    def scored(self) -> int:
        """Records that the audit log says were scored."""
        return sum(audit["scored"] for audit in self.audits())

    def audits(self) -> list[dict[str, Any]]:
        """All audit records so far; only the new ones are read."""
        while batch := self._reader.consume(10_000, 0.1):
            self._audits += [records.decode(m.value())[1] for m in batch if m.error() is None]
        return self._audits

    def until_scored_more(self, records: int) -> None:
        """Until so many more are scored than now."""
        goal = self.scored() + records
        self.until(lambda: self.scored() >= goal, f"{records} more records are scored")

    def longest_pause_s(self, since: float, until: float) -> float:
        """The longest pause of any partition between two audit records inside the window (s since 1970)."""
        stamps = defaultdict(list)
        for audit in self.audits():
            if since <= audit["scored_at"] / 1000 <= until:
                stamps[audit["partition"]].append(audit["scored_at"] / 1000)
        assert len(stamps) == TELEMETRY_PARTITIONS, f"only {len(stamps)} partitions were scored"
        times = [sorted(of_one) for of_one in stamps.values()]
        return max(later - earlier for one in times for earlier, later in itertools.pairwise(one))


def metrics_address(pod: str) -> tuple[str, int]:
    """(host, port) of a pod's metrics; loopback.sh computes the same address from the pod's name."""
    done = subprocess.run(["cksum"], input=pod, capture_output=True, text=True, check=True)
    number = int(done.stdout.split()[0])
    return f"127.77.{number // 256 % 256}.{number % 254 + 1}", PODS_METRICS


def mounts_left(folder: Path) -> list[str]:
    """Mount points under the folder or the store; there should be none after the end."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    return [point for point in points if point.startswith((str(folder), str(STORE)))]


def processes_left(folder: Path) -> list[str]:
    """Command lines of processes that name the folder; there should be none after the end."""
    done = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if str(folder) in line]
