"""A deployment without a fleet: brokers, bridge and scorer; the cars are locust's."""

import csv
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition

from contract.telemetry import Decoder
from contract.topics import MODELS, TELEMETRY, TELEMETRY_PARTITIONS, mirrored
from local.deployment import Deployment, Plan
from local.java import ROOT
from local.ports import is_ready
from plumbing import kafka

PORT_OFFSET = int(os.environ.get("TEST_PORT_OFFSET", "1000")) + 700
DEADLINE_S = 60.0
# The tests' detector gives a healthy load car a score of about 9, a faulty one over 40.
THRESHOLD = 25.0


@dataclass(frozen=True)
class Result:
    """The end of a run of locust."""

    status: int
    text: str  # standard output and error
    rows: dict[str, dict[str, str]]  # statistics by request
    report: str  # HTML

    def requests(self, name: str) -> int:
        return int(self.rows[name]["Request Count"]) if name in self.rows else 0

    def failures(self, name: str) -> int:
        return int(self.rows[name]["Failure Count"])


class Target:
    """The deployment, and the load cars' records in edge Kafka."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        self.deployment = deployment
        self._folder = folder
        self._known: set[str] = set()

    def locust(self, *flags: str, budgets: str, within_s: float = 120.0) -> Result:
        """A headless run against it, in a process of its own."""
        folder = self._folder / f"run-{len(list(self._folder.iterdir()))}"
        folder.mkdir()
        (folder / "budgets.toml").write_text(budgets, encoding="utf-8")
        ended = run_locust(
            "--host", self.deployment.plan.mqtt_brokers,
            "--kafka-bootstrap", self.deployment.edge.bootstrap,
            "--budgets", str(folder / "budgets.toml"),
            "--csv", str(folder / "load"), "--html", str(folder / "report.html"),
            *flags,
            within_s=within_s,
        )  # fmt: skip
        stats, report = folder / "load_stats.csv", folder / "report.html"
        rows = csv.DictReader(stats.read_text().splitlines()) if stats.exists() else ()
        text = ended.stdout + ended.stderr
        return Result(
            ended.returncode,
            text,
            {row["Name"]: row for row in rows},
            report.read_text() if report.exists() else "",
        )

    def sent(self, count: int) -> dict[str, list[int]]:
        """The seqs, in Kafka's order, of all cars that no earlier call returned, once there are `count`."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            cars = {car: seqs for car, seqs in self._all().items() if car not in self._known}
            if sum(len(set(seqs)) for seqs in cars.values()) >= count:
                self._known |= set(cars)
                return cars
            assert time.monotonic() < deadline, f"{cars} have not {count} records"
            time.sleep(0.2)

    def _all(self) -> dict[str, list[int]]:
        partitions = [TopicPartition(TELEMETRY, number) for number in range(TELEMETRY_PARTITIONS)]
        consumer = kafka.consumer(self.deployment.edge.bootstrap, group_id="none")
        cars: dict[str, list[int]] = defaultdict(list)
        try:
            left = sum(consumer.get_watermark_offsets(partition, timeout=10)[1] for partition in partitions)
            for partition in partitions:
                partition.offset = 0
            consumer.assign(partitions)
            while left > 0:
                messages = [m for m in consumer.consume(10_000, 0.2) if m.error() is None]
                left -= len(messages)
                keys = [m.key() for m in messages]
                decoded = Decoder.of_all_versions().decode([m.value() for m in messages], keys)
                assert decoded.rejected == []
                for row, seq in zip(decoded.rows.tolist(), decoded.seq.tolist(), strict=True):
                    cars[keys[row].decode()].append(seq)
        finally:
            consumer.close()
        return cars


def run_locust(*flags: str, within_s: float) -> subprocess.CompletedProcess[str]:
    """`python -m loadtest load --headless` with these flags."""
    return subprocess.run(
        [sys.executable, "-m", "loadtest", "load", "--headless", *flags],
        cwd=ROOT, capture_output=True, text=True, timeout=within_s, check=False,
    )  # fmt: skip


def _until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S:.0f} s: {what}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    plan = Plan(
        run_dir=tmp_path_factory.mktemp("deployment"), cars=1, scorers=1, shards=2, port_offset=PORT_OFFSET
    )
    deployment = Deployment(plan)
    try:
        deployment.start_brokers()
        deployment.start_bridge()
        deployment.supervisor.wait_ready(["bridge"], DEADLINE_S)
        yield Target(deployment, tmp_path_factory.mktemp("locust"))
    finally:
        deployment.stop()


@pytest.fixture(scope="module")
def scored(target: Target, detector: Any) -> Target:
    """The deployment with a scorer that has a model."""
    deployment = target.deployment
    producer = Producer({"bootstrap.servers": deployment.edge.bootstrap})
    producer.produce(mirrored("cloud", MODELS), detector.record(threshold=THRESHOLD), b"failure-detector")
    assert producer.flush(20) == 0
    deployment.start_scorer(0)
    _until(lambda: is_ready(deployment.plan.ports.scorer(0)), "the scorer has a model")
    return target


def gapless(seqs: Sequence[int]) -> bool:
    """Whether the seqs are 1, 2, 3, … without a gap; repetitions do not matter."""
    return sorted(set(seqs)) == list(range(1, max(seqs) + 1))
