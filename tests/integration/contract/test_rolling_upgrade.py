"""A new signal is rolled out: first the scorers, then the bridge, then the cars, then a model that judges it.

Real processes on mosquitto and a mock Kafka. Everything that is old knows telemetry up to version 2 only.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.schema import VARIABLE, get
from contract.telemetry import SIGNALS
from contract.topics import ANOMALIES, AUDIT, REJECTED, TELEMETRY
from local.ledger import Published, read_log, scored_stage
from tests.conftest import MEAN, SPREAD, Remembering
from tests.integration.bridge.processes import BridgeProcess, Broker
from tests.integration.scorer.edge import Edge, until
from tests.integration.scorer.replica import Replica

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
SCHEMAS = ROOT / "contract" / "schemas"
OLD_SIGNALS = get("telemetry", 2).names("float")
CARS = 15  # of each fleet


class Fleet:
    """Some cars; a restart on the same folder goes on with their seq, also with another schema version."""

    def __init__(self, folder: Path, brokers: str, first_car: int) -> None:
        self._folder, self._brokers, self.first_car = folder, brokers, first_car
        self._process: subprocess.Popen[bytes] | None = None

    def drive(self, version: int) -> None:
        settings = {"mqtt-brokers": self._brokers, "run-dir": self._folder, "first-car": self.first_car,
                    "cars": CARS, "rate-hz": 5, "schema-version": version}  # fmt: skip
        flags = [f"--{name}={value}" for name, value in settings.items()]
        self._process = subprocess.Popen([sys.executable, "-m", "simulator", *flags], cwd=ROOT)

    def park(self) -> None:
        """Ends after all samples are acknowledged."""
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(20) == 0

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    @property
    def published(self) -> Any:
        return np.load(self._folder / "published.npy")


@pytest.fixture
def old_schemas(tmp_path: Path) -> Path:
    """The schemas folder before motor_temp."""
    folder = tmp_path / "schemas"
    folder.mkdir()
    for version in (1, 2):
        shutil.copy(SCHEMAS / f"telemetry.v{version}.avsc", folder)
    lines = [f"signals.{name} = {{ resolution = 1 }}" for name in OLD_SIGNALS]
    (folder / "signals.toml").write_text("\n".join(lines))
    return folder


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    yield broker
    broker.kill()


@pytest.fixture
def edge(mock_kafka: Any, telemetry_values: Callable[..., list[bytes]]) -> Iterator[Edge]:
    edge = Edge(mock_kafka.bootstrap, "rolling", telemetry_values)
    yield edge
    edge.close()


@pytest.fixture
def fleets(tmp_path: Path, broker: Broker) -> Iterator[list[Fleet]]:
    """Cars of three ages."""
    fleets = [Fleet(tmp_path / f"fleet-{number}", broker.where, number * CARS) for number in range(3)]
    yield fleets
    for fleet in fleets:
        fleet.kill()


@pytest.fixture
def start(
    edge: Edge, broker: Broker, old_schemas: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    """Starts a bridge or a scorer, old or new, and waits until it is ready."""
    started: list[Any] = []

    def start(kind: str, *, old: bool, wait: bool = True) -> Any:
        with monkeypatch.context() as patch:
            patch.delenv(VARIABLE, raising=False)
            if old:
                patch.setenv(VARIABLE, str(old_schemas))
            if kind == "bridge":
                where = {"mqtt_brokers": broker.where, "kafka_bootstrap": edge.bootstrap}
                one: Any = BridgeProcess(tmp_path / "bridge.log", where)
            else:
                one = Replica(edge, tmp_path, len(started), "--state-interval-s", "1")
        started.append(one)
        if wait:
            one.wait_ready()
        return one

    yield start
    for one in started:
        one.process.kill()
        one.process.wait(10)


def model(version: int, signals: int) -> bytes:
    """A model record that judges the first so many signals; every score over 0 is an anomaly."""
    spread = np.where(np.array(SIGNALS) == "motor_temp", np.float32(0.01), SPREAD)  # the largest share
    made = Remembering.of(MEAN[:signals], spread[:signals])
    return made.record(version, 1e-30, signals=SIGNALS[:signals], name="rolling")


def test_a_signal_is_rolled_out_without_losing_a_record(
    start: Callable[..., Any], edge: Edge, fleets: list[Fleet]
) -> None:
    """Old cars beside new ones, the old model beside the one that judges motor_temp: all is scored once."""
    edge.publish(model(1, len(OLD_SIGNALS)))
    bridge, scorer = start("bridge", old=True), start("scorer", old=True)
    fleets[0].drive(version=1)
    fleets[1].drive(version=2)
    scorer.wait_scored(300)

    # A model that comes before its scorers is refused, and the old one goes on.
    edge.publish(model(2, len(SIGNALS)))
    scorer.wait_shows("scorer_model_refusals_total", 1, reason="other_signals")
    assert "roll out this program" in scorer.log
    scorer.wait_scored(150)

    # The scorers first: the new one takes over the old one's cars and goes on with the old model.
    edge.publish(model(3, len(OLD_SIGNALS)))
    newer = start("scorer", old=False, wait=False)
    newer.wait_ready()
    assert scorer.stop()[0] == 0
    newer.wait_shows("scorer_model_version", 3)
    newer.wait_scored(300)

    # Then the bridge, then the cars: new ones, and old ones with a new program.
    assert bridge.terminate() == 0
    start("bridge", old=False)
    fleets[1].park()
    fleets[1].drive(version=3)
    fleets[2].drive(version=3)
    newer.wait_scored(450)

    # Last the model: it learns every car while the old one scores it.
    edge.publish(model(4, len(SIGNALS)))
    newer.wait_shows("scorer_model_version", 4)
    newer.wait_shows("scorer_behind_cars", 0)
    newer.wait_scored(450)
    for fleet in fleets:
        fleet.park()
    until(
        lambda: newer.alive and newer.metric("scorer_lag_records") == 0 and edge.scored_once(), "all scored"
    )

    cars = np.concatenate([fleet.published for fleet in fleets])
    published = Published([f"car-{car:06d}" for car in cars["car"]], cars["sent"], cars["acknowledged"])
    assert (published.sent == published.acknowledged).all()
    scored = scored_stage(published, read_log(edge.bootstrap, TELEMETRY, published), edge.decoded(AUDIT))
    assert (scored.lost, scored.duplicates, scored.distinct) == (0, 0, published.sent.sum())
    assert edge.read(REJECTED) == []
    assert edge.counts()["rejected"] == 0
    named = {
        (anomaly["model_version"], int(anomaly["car_id"][-6:]) // CARS)
        for anomaly in edge.decoded(ANOMALIES)
        if any(signal["name"] == "motor_temp" for signal in anomaly["signals"])
    }
    assert named == {
        (4, 1),
        (4, 2),
    }  # never in cars that do not send it, nor by a model that does not judge it
