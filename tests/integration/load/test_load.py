"""locust drives a real deployment, in processes of its own: it replaces sockets and threads where it runs."""

from pathlib import Path
from typing import Any

import pytest

from loadtest.load import budgets
from loadtest.load.budgets import ANOMALY, CONNECT, PUBLISH, RECONNECT
from tests.integration.load.conftest import gapless, run_locust

pytestmark = pytest.mark.integration

# Only losses break these budgets: times depend on the load of the machine.
NOTHING_LOST = "".join(f'["{name}"]\nfailure_share_max = 0.0\np99_ms_max = 60000\n' for name in budgets.NAMES)
CARS = 30


def test_without_a_broker_it_says_what_to_start(tmp_path: Path) -> None:
    """Status 1 and how to start a deployment or name another; no car drives, no traceback is shown."""
    ended = run_locust("--host", "127.0.0.1:9", "--csv", str(tmp_path / "x"), within_s=60)
    assert ended.returncode == 1
    assert "no MQTT broker listens at 127.0.0.1:9" in ended.stderr
    assert "make up" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.measuring
def test_without_a_model_it_says_how_to_get_one(target: Any) -> None:
    """Cars that wait for anomalies need a model."""
    result = target.locust("--run-time", "5s", budgets=NOTHING_LOST)
    assert result.status == 1
    assert "holds no model" in result.text
    assert "Traceback" not in result.text


@pytest.mark.measuring
def test_an_impossible_budget_breaks_the_run(target: Any) -> None:
    """Status 3, and which budget was broken by which figure."""
    result = target.locust(
        "--users", "5", "--run-time", "4s", "--shape", "steady", "Car",
        budgets='["connect"]\np99_ms_max = 0\n["publish telemetry"]\nfailure_share_max = 0\n',
    )  # fmt: skip
    assert result.status == 3, result.text
    assert "budget broken: connect, p99_ms_max = 0: measured" in result.text
    assert "budget broken: publish" not in result.text
    target.sent(result.requests(PUBLISH))


@pytest.mark.measuring
def test_acknowledged_records_are_in_kafka_and_anomalies_come_back(scored: Any) -> None:
    """Every publish has its PUBACK and its record, per car without a gap; every faulty sample its anomaly."""
    result = scored.locust(
        "--users", str(CARS), "--run-time", "8s", "--shape", "steady", "--faulty-every", "3",
        "--healthy-first", "2",
        budgets=NOTHING_LOST,
    )  # fmt: skip
    assert result.status == 0, result.text
    assert result.requests(CONNECT) == CARS
    assert result.requests(ANOMALY) > 0
    assert result.failures(PUBLISH) == result.failures(ANOMALY) == 0
    cars = scored.sent(result.requests(PUBLISH))
    # At the end of a run each car may be waiting for one PUBACK.
    assert 0 <= sum(len(seqs) for seqs in cars.values()) - result.requests(PUBLISH) <= CARS
    assert len(cars) == CARS
    assert all(car.startswith("load-") and gapless(seqs) for car, seqs in cars.items())
    assert PUBLISH in result.report


@pytest.mark.measuring
def test_a_storm_over_two_processes_loses_nothing(scored: Any) -> None:
    """All cars of all workers lose their connection at once, reconnect, and continue without a gap."""
    port = str(scored.deployment.plan.ports.scorer(9))
    result = scored.locust(
        "--users", str(CARS), "--run-time", "15s", "--shape", "storm", "--processes", "2",
        "--master-bind-port", port, "--master-port", port, "Car",
        budgets=NOTHING_LOST,
    )  # fmt: skip
    assert result.status == 0, result.text
    assert result.requests(RECONNECT) >= 2 * CARS
    cars = scored.sent(result.requests(PUBLISH))
    assert len(cars) == CARS
    assert all(gapless(seqs) for seqs in cars.values())
