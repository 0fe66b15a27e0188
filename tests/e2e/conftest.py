"""The whole picture, once for all tests of this folder: brokers, fleet, bridge, scorers, replication."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.foresight import AlertVerdicts
from local.deployment import Deployment, Plan
from local.watch import Watch, scrape

PORT_OFFSET = int(os.environ.get("TEST_PORT_OFFSET", "1000")) + 500
CARS, RATE_HZ, SCORERS = 400, 2.0, 2


class Running:
    """The deployment under test and what can be seen of it."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.watch = Watch(deployment.edge.bootstrap, deployment.cloud.bootstrap)
        # An alert is right when its car fails within a minute; a report may take 10 s.
        self.foresight = AlertVerdicts(60, 10)

    def until(self, condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
        """The first true result of `condition`; fails, naming `what`, where there is none in time."""
        deadline = time.monotonic() + timeout_s
        while not (found := condition()):
            self.deployment.supervisor.tick()
            assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
            time.sleep(0.1)
        return found

    def metric(self, name: str, *, service: str, number: int = 0) -> float:
        """A service's metric, labels added up; 0 where it does not answer."""
        ports = self.deployment.plan.ports
        port = {"simulator": ports.simulator, "bridge": ports.bridge(0), "scorer": ports.scorer(number)}[
            service
        ]
        return scrape(port).get(name, 0.0)

    def hear(self) -> AlertVerdicts:
        """Alerts and workshop reports, matched as far as they have arrived."""
        self.foresight.take(self.watch.seen.news)
        return self.foresight

    def model_versions(self) -> set[int]:
        """The versions that the replicas use now."""
        return {int(self.metric("scorer_model_version", service="scorer", number=n)) for n in range(SCORERS)}

    def train(self, *, wait_records: int) -> int | None:
        """Run the trainer to its end; its exit status."""
        child = self.deployment.train(wait_records=wait_records)
        self.until(lambda: child.process is None, "the trainer ends", 180)
        return child.status


@pytest.fixture(scope="module")  # what it starts must not run beside all later tests
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    plan = Plan(
        run_dir=Path(tmp_path_factory.mktemp("deployment")),
        cars=CARS,
        rate_hz=RATE_HZ,
        scorers=SCORERS,
        shards=2,
        faulty_share=0.15,
        ageing=1200,
        fault_spread_h=6,
        healthy_s=40,
        time_lapse=1200,
        port_offset=PORT_OFFSET,
    )
    deployment = Deployment(plan)
    started = None
    try:
        deployment.start(lambda _: None)
        started = Running(deployment)
        yield started
    finally:
        if started is not None:
            started.watch.close()
        deployment.stop()
