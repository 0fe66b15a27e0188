"""`trainer rescore` as a process, on a mock cluster: two models over a range, beside the reports."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer

from contract import records
from contract.alert_rule import SMOOTHED
from contract.telemetry import SIGNALS
from contract.topics import cloud_topics
from tests.conftest import MEAN, SPREAD
from tests.integration.mock_kafka import MockKafka
from tests.integration.trainer.conftest import BEGAN_MS, ROOT, environment

pytestmark = pytest.mark.integration

CARS, SAMPLES, FAULTY = 20, 60, (3, 7)
Values = Callable[..., list[bytes]]


@pytest.fixture
def log(remembering: Any, telemetry_values: Values) -> Iterator[str]:
    """A cluster with two models of which the second is deaf, and cars of which two get hot and then fail."""
    cluster = MockKafka({topic.name: topic.partitions for topic in cloud_topics()})
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "partitioner": "murmur2_random"})
    for version, threshold in ((16, 3.0), (17, 1e6)):
        record = remembering.record(version, threshold, alert=SMOOTHED, tflite=remembering.tflite)
        producer.produce("models.log", record, b"failure-detector")
    rng, cars = np.random.default_rng(1), [f"car-{number:02d}" for number in range(CARS)]
    for sample in range(SAMPLES):
        signals = (MEAN + 0.2 * SPREAD * rng.normal(size=(CARS, len(SIGNALS)))).astype(np.float32)
        if sample >= 30:
            signals[FAULTY, SIGNALS.index("coolant_temp")] += 8 * SPREAD[SIGNALS.index("coolant_temp")]
        values = telemetry_values(cars, [sample] * CARS, signals, BEGAN_MS + 1000 * sample)
        for car, value in zip(cars, values, strict=True):
            producer.produce("edge.telemetry", value, car.encode())
    for number in FAULTY:
        at = BEGAN_MS + 50_000
        report = {"car_id": cars[number], "report_id": cars[number], "component": "coolant_circuit"}
        value = records.encode(
            "maintenance", report | {"action": "failed", "occurred_at": at, "reported_at": at}
        )
        producer.produce("edge.maintenance", value, cars[number].encode())
    assert producer.flush(30) == 0
    yield cluster.bootstrap
    cluster.close()


def test_models_are_compared_over_a_range(log: str, tmp_path: Path) -> None:
    """The table and the JSON say what each model foresaw; a version that is not there is refused."""
    out = tmp_path / "folder" / "rescore.json"

    def rescore(*flags: str) -> "subprocess.CompletedProcess[str]":
        command = [
            sys.executable,
            "-m",
            "trainer",
            "rescore",
            "--kafka-bootstrap",
            log,
            "--out",
            str(out),
            *flags,
        ]
        return subprocess.run(
            command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, check=False
        )

    done = rescore("--models", "16,17")
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    assert list(results["topic_ids"]) == list(results["offsets"]) == ["edge.telemetry"]
    first, second = results["models"]
    assert (results["records"], results["cars"], results["reports"]) == (CARS * SAMPLES, CARS, 2)
    assert (first["version"], first["all"]["recall"], first["all"]["precision"]) == (16, 1.0, 1.0)
    assert 10 < first["all"]["median_lead_s"] <= 20
    assert (second["version"], second["all"]["recall"], second["all"]["alerts"]) == (17, 0.0, 0)
    assert "coolant_circuit     16" in done.stdout
    unknown = rescore("--models", "16,18")
    assert (unknown.returncode, "no version 18; known are 16, 17" in unknown.stderr) == (2, True)
    part = rescore("--models", "16", "--from", "0:0")
    assert (part.returncode, "--from must name each partition of edge.telemetry" in part.stderr) == (2, True)
