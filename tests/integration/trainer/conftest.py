"""A slice of a simulated fleet, in memory and on a real cloud cluster, and the trainer as a process."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from numpy.typing import NDArray

from contract import records, telemetry
from contract.manifest import TFLITE_BYTES_MAX
from contract.records import confluent_header
from contract.schema import latest
from contract.telemetry import SIGNALS, Floats
from contract.topics import MAINTENANCE, TELEMETRY, cloud_topics, mirrored
from plumbing.tflite import Interpreter
from simulator.cars import car_id
from simulator.fleet import Fleet
from simulator.scenario import Scenario
from tests.conftest import MEAN, SPREAD
from tests.integration.trainer.closed_loop import CARS, SECONDS, loop, taught
from trainer.model.graph import Graph
from trainer.publication import Publication
from trainer.settings import Settings

# For slices of 20 seconds at one sample a second.
SHORT = {"--learning-s": "10", "--memory-s": "5", "--false-alarms-per-car-week": "100"}
ROOT = Path(__file__).parents[3]
BEGAN_MS = 1_790_000_000_000


def drive(cars: int, seconds: int, seed: int, scenario: Scenario | None = None) -> NDArray[np.float32]:
    """Signals (seconds, cars, K) of a fleet at one sample a second."""
    fleet = Fleet(seed=seed, first=0, cars=cars, scenario=scenario or Scenario(faulty_share=0.0))
    return np.stack([fleet.step(slice(0, cars), float(second), 1.0) for second in range(1, seconds + 1)])


@dataclass
class Cloud:
    """The topics of an edge of its own on the cloud cluster, and a model name of its own."""

    bootstrap: str
    edge: str
    model: str

    def settings(self, **changes: Any) -> Settings:
        """The trainer's settings for this edge and model."""
        values = {"kafka_bootstrap": self.bootstrap, "edge_names": (self.edge,), "model_name": self.model}
        values |= {"learning_s": 10.0, "memory_s": 5.0, "false_alarms_per_car_week": 100.0}
        return Settings(**values | changes)

    def publication(self) -> Publication:
        """The models of this name, as the trainer reads and writes them."""
        return Publication(self.bootstrap, None, self.model)

    @cached_property
    def _producer(self) -> Producer:
        return Producer({"bootstrap.servers": self.bootstrap, "partitioner": "murmur2_random"})

    def produce(self, topic: str, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Write records to a mirrored topic of this edge, and wait for them."""
        for key, value in zip(keys, values, strict=True):
            self._producer.produce(mirrored(self.edge, topic), key=key, value=value)
            self._producer.poll(0)
        assert self._producer.flush(30) == 0

    def drive(self, signals: NDArray[np.float32], since: int = 1) -> None:
        """Put signals (seconds, cars, K) on the telemetry topic; `since` is the first seq and second."""
        schema = latest("telemetry")
        cars = [car_id(number) for number in range(signals.shape[1])]
        prefixes = [confluent_header(schema.schema_id) + telemetry.prefix(schema, car) for car in cars]
        for second, rows in enumerate(signals, since):
            seq = np.full(len(cars), second, np.int64)
            values = telemetry.encode(prefixes, seq, BEGAN_MS + seq * 1000, rows)
            self.produce(TELEMETRY, [car.encode() for car in cars], values)

    def report(self, car: str, component: str, occurred_at_ms: int) -> None:
        """Put a workshop's report of a failure on the maintenance topic."""
        value = records.encode(
            "maintenance",
            {
                "car_id": car,
                "report_id": f"{car}-{component}",
                "component": component,
                "action": "failed",
                "occurred_at": occurred_at_ms,
                "reported_at": occurred_at_ms + 1000,
            },
        )
        self.produce(MAINTENANCE, [car.encode()], [value])

    def command(self, *arguments: str) -> list[str]:
        """The trainer's command line for this edge and model."""
        settings = {
            "--kafka-bootstrap": self.bootstrap,
            "--edge-names": self.edge,
            "--model-name": self.model,
            **SHORT,
        }
        flags = [text for pair in settings.items() for text in pair]
        return [sys.executable, "-m", "trainer", *arguments, *flags]

    def trainer(self, *arguments: str, timeout_s: float = 180.0) -> "subprocess.CompletedProcess[str]":
        """Run the trainer to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


def environment() -> dict[str, str]:
    """The environment of a trainer process, without TRAINER_ variables of this one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRAINER_")}
    return kept | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}


@pytest.fixture(scope="session")
def new_cloud(cloud_kafka: Any) -> Callable[[], Cloud]:
    """Makes the mirrored topics of another edge, and the topics of the models where they are missing."""

    def make() -> Cloud:
        name = uuid.uuid4().hex[:8]
        admin = AdminClient({"bootstrap.servers": cloud_kafka.bootstrap})
        existing = admin.list_topics(timeout=30).topics
        missing = [
            NewTopic(topic.name, topic.partitions, 1, config=topic.config)
            for topic in cloud_topics(f"edge-{name}")
            if topic.name not in existing
        ]
        for future in admin.create_topics(missing).values():
            future.result(30)
        return Cloud(cloud_kafka.bootstrap, f"edge-{name}", f"model-{name}")

    return make


@pytest.fixture
def cloud(new_cloud: Callable[[], Cloud]) -> Cloud:
    """A new edge and a new model name for each test."""
    return new_cloud()


@pytest.fixture(scope="session")
def fleet() -> Callable[..., NDArray[np.float32]]:
    """`drive`: signals (seconds, cars, K) of a simulated fleet."""
    return drive


@pytest.fixture(scope="session")
def noise() -> NDArray[np.float32]:
    """Signals (seconds, cars, K) that are independent: no detector can be better than max|z|."""
    rng = np.random.default_rng(1)
    typical = [60, 20, 50, 60, 360, 20, 15, 1500, 0.3, *[36] * 4, *[3] * 4, 1000]
    spread = [3, 3, 5, 9, 9, 5, 4, 200, 0.05, *[1] * 4, *[0.5] * 4, 0]
    typical, spread = [*typical, *MEAN[len(typical) :]], [*spread, *SPREAD[len(spread) :]]
    return np.asarray(typical + spread * rng.normal(size=(20, 400, len(SIGNALS))), np.float32)


@pytest.fixture(scope="session")
def past(fleet: Fleet) -> Floats:
    """Healthy samples (cars, seconds, K)."""
    return np.ascontiguousarray(fleet(CARS, SECONDS, seed=1).transpose(1, 0, 2))


@pytest.fixture(scope="session")
def graph(past: Floats) -> Graph:
    return taught(past, steps_max=200)[0]


@pytest.fixture(scope="session")
def tflite(graph: Graph) -> bytes:
    converted = graph.convert()
    assert len(converted) < TFLITE_BYTES_MAX / 5
    return converted


@pytest.fixture(scope="session")
def served(tflite: bytes) -> Interpreter:
    return Interpreter(tflite, len(SIGNALS))


@pytest.fixture(scope="session")
def warm(served: Interpreter, past: Floats) -> Floats:
    """The states of all cars after their past."""
    return loop(served, past)[2]
