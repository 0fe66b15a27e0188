"""`make load` with what it needs: starts a deployment, trains its model, and ends it afterwards."""

import subprocess
import time
from pathlib import Path

from local.deployment import Deployment, Plan
from local.ports import is_ready
from plumbing import life, log
from plumbing.life import Stop, WorldDown

# As many cars as a model is learned from and judged by, at two samples a second; locust's cars come on top.
_CARS, _RATE_HZ, _RECORDS = 400, 2.0, 20_000
_MODEL_WITHIN_S = 240.0


def main() -> None:
    """Entry point."""
    life.main(_run)


def _run() -> int:
    log.configure("proofs", "text")
    stop = Stop().install()
    plan = Plan(run_dir=Path("var/proofs/deployment"), cars=_CARS, rate_hz=_RATE_HZ, scorers=1, shards=1,
                ageing=1200, time_lapse=1200, fault_spread_h=6, healthy_s=45)  # fmt: skip
    deployment = Deployment(plan)
    try:
        deployment.start(print)
        deployment.train(wait_records=_RECORDS, wait_seconds=120)
        _wait_for_model(deployment, stop)
        return _load(deployment, stop)
    finally:
        deployment.stop()


def _wait_for_model(deployment: Deployment, stop: Stop) -> None:
    """Wait until the scorer is ready. Raises WorldDown."""
    deadline = time.monotonic() + _MODEL_WITHIN_S
    while not is_ready(deployment.plan.ports.scorer(0)):
        deployment.supervisor.tick()
        if stop.requested or time.monotonic() > deadline:
            raise WorldDown(f"no model came into use:\n{deployment.supervisor.last_lines('trainer')}")
        time.sleep(0.5)
    print("the scorer has a model", flush=True)


def _load(deployment: Deployment, stop: Stop) -> int:
    """The exit status of `make load`, with everything else kept running beside it."""
    with subprocess.Popen(["make", "load"]) as process:
        while process.poll() is None:
            deployment.supervisor.tick()
            if stop.requested:
                process.terminate()
            time.sleep(0.5)
        return process.returncode


if __name__ == "__main__":
    main()
