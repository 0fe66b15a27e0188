"""A Kafka for each test, scorers as processes, telemetry and models to send."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .edge import Edge, Load
from .replica import Replica


def _is_real(request: pytest.FixtureRequest) -> bool:
    return request.node.get_closest_marker("real_kafka") is not None


@pytest.fixture
def kafka(request: pytest.FixtureRequest) -> Any:
    """A mock cluster of the test's own; with the marker `real_kafka` the edge cluster."""
    return request.getfixturevalue("edge_kafka" if _is_real(request) else "mock_kafka")


@pytest.fixture
def edge(
    kafka: Any, request: pytest.FixtureRequest, telemetry_values: Callable[..., list[bytes]]
) -> Iterator[Edge]:
    name = f"scorer-{request.node.name[:60]}-{time.time_ns()}"
    edge = Edge(kafka.bootstrap, name, telemetry_values)
    if _is_real(request):
        edge.empty()
    yield edge
    edge.close()


@pytest.fixture
def replica(edge: Edge, tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    """Starts scorers; ends them all after the test."""
    started: list[Replica] = []

    def start(*flags: str) -> Replica:
        started.append(Replica(edge, tmp_path, len(started), *flags))
        return started[-1]

    yield start
    for one in started:
        with contextlib.suppress(ProcessLookupError):
            one.signal(signal.SIGCONT)
        one.kill()


@pytest.fixture
def load(edge: Edge, detector: Any) -> Callable[..., Load]:
    """To be entered: telemetry flows until it is left."""
    return lambda cars, per_second: Load(edge, detector.mean, cars, per_second)


@pytest.fixture
def model_record(edge: Edge, detector: Any) -> Callable[..., bytes]:
    """Framed model records under this test's model name."""
    return lambda version=1, threshold=12.0, **other: detector.record(
        version, threshold, name=edge.name, **other
    )
