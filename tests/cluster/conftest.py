"""One Kubernetes for all tests of this folder, and the brokers beside it."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster import cluster as clusters
from cluster import images, overlay
from cluster.api import Api
from cluster.cluster import LocalCluster
from cluster.kind import NO_PODS, Kind
from local.deployment import Deployment, Plan
from local.store import Say
from plumbing.life import WorldDown
from tests.cluster.world import CARS, CHANGE, RATE_HZ, RUN, World, mounts_left, processes_left

PORT_OFFSET = int(os.environ.get("TEST_PORT_OFFSET", "1000"))
FIGURES = pytest.StashKey[dict[str, str]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder are `cluster` tests; `make cluster` asks for them."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


def pytest_configure(config: pytest.Config) -> None:
    """Where the figures of the run are gathered."""
    config.stash[FIGURES] = {}


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """What was measured, and what could not run."""
    if found := config.stash.get(FIGURES, {}):
        terminalreporter.section("cluster")
        for what, figure in found.items():
            terminalreporter.write_line(f"{what:<72} {figure}")
        RUN.mkdir(parents=True, exist_ok=True)
        (RUN / "figures.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> dict[str, str]:
    """What to show at the end."""
    return pytestconfig.stash[FIGURES]


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, figures: dict[str, str]) -> Iterator[Api]:
    """The control plane; the tests that need pods start a node in it."""
    show = request.config.get_terminal_writer()
    if os.environ.get("CLUSTER") == "kind":
        yield from by_kind(lambda line: show.line(f"cluster: {line}"))
        return
    began_at = time.monotonic()
    programs = clusters.build(lambda line: show.line(f"cluster: {line}"))
    figures["built or found"] = f"{time.monotonic() - began_at:.1f} s"
    it = LocalCluster(programs, RUN / "kubernetes", PORT_OFFSET)
    try:
        began_at = time.monotonic()
        it.start_control_plane()
        figures["control plane started"] = f"{time.monotonic() - began_at:.1f} s"
        yield it
    finally:
        began_at = time.monotonic()
        it.stop()
        figures["stopped, nothing left"] = f"{time.monotonic() - began_at:.1f} s"
    assert processes_left(it.folder) == []
    assert mounts_left(it.folder) == []


def by_kind(say: Say) -> Iterator[Api]:
    """The cluster made by kind, where there is Docker."""
    it = Kind(RUN / "kind", say)
    try:
        it.start_control_plane()
        yield it
    finally:
        it.stop()


@pytest.fixture(scope="session")
def world(cluster: LocalCluster, figures: dict[str, str]) -> Iterator[World]:
    """Real pods; skipped, loudly, where they cannot run."""
    if why := NO_PODS if isinstance(cluster, Kind) else clusters.why_no_node():
        figures["REAL PODS: NOT RUN"] = why
        pytest.skip(f"NO REAL PODS HERE, steps 2 to 6 were not run: {why}")
    began_at = time.monotonic()
    cluster.start_node()
    figures["node ready"] = f"{time.monotonic() - began_at:.1f} s"
    run_dir = RUN / "brokers"
    run_dir.mkdir(parents=True, exist_ok=True)
    plan = Plan(run_dir=run_dir, cars=CARS, rate_hz=RATE_HZ, shards=1, port_offset=PORT_OFFSET,
                fleet_dir=run_dir / "fleet", changes=CHANGE)  # fmt: skip
    deployment = Deployment(plan)
    try:
        deployment.start_brokers()
        deployment.start_mirror()
        overlay.of_plan(RUN / "overlay", plan, images.tags(), cluster.api_port)
        seen = World(cluster, deployment)
        yield seen
        seen.close()
    finally:
        try:
            # Before the brokers: a service without them waits for the whole of its drain.
            cluster.end_pods()
        except WorldDown as error:
            figures["PODS DID NOT END"] = str(error)
        deployment.stop()
