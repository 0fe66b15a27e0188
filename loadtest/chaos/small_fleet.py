"""One percent of the cars, in a simulator of their own whose clock can be set wrong."""

from pathlib import Path

import numpy as np

from local.deployment import ENVIRONMENT, Deployment, flags, published
from local.java import ROOT
from local.ledger import Published
from local.ports import is_ready
from local.supervisor import Child

NAME = "small-fleet"
_SHARE = 0.01
_READY_WITHIN_S = 60.0
_AN_HOUR_S = 3_600
WRONG_CLOCK = Path(__file__).with_name("wrong_clock")  # the folder for PYTHONPATH


def size(cars: int) -> int:
    """How many of so many cars are in it."""
    return max(1, round(_SHARE * cars))


class SmallFleet:
    """The cars behind those of the deployment's plan."""

    def __init__(self, deployment: Deployment, cars: int) -> None:
        self._deployment, self._cars = deployment, cars
        self._folder = deployment.plan.run_dir / NAME
        self._clock = self._folder.with_suffix(".clock")

    def start(self) -> None:
        """Start it as the deployment's fleet was started. Raises WorldDown.

        Its clock is behind at first, because a simulator does not follow a clock to before its first start.
        """
        supervisor, plan = self._deployment.supervisor, self._deployment.plan
        self.set_clock(-2 * _AN_HOUR_S)
        port = plan.ports.small_fleet
        own = {"first_car": plan.cars, "cars": self._cars, "run_dir": self._folder, "metrics_port": port}
        environment = {"PYTHONPATH": f"{WRONG_CLOCK}:{ROOT}", "WRONG_CLOCK": str(self._clock.resolve())}
        argv = [*supervisor.children["simulator"].argv, *flags(own)]  # the last of equal flags counts
        supervisor.start(Child(NAME, argv, lambda: is_ready(port), env=ENVIRONMENT | environment))
        supervisor.wait_ready([NAME], _READY_WITHIN_S)
        self.set_clock(0)

    def set_clock(self, ahead_s: int) -> None:
        """Set the clock of all of its cars, ahead of the right time or (negative) behind it."""
        draft = self._clock.with_suffix(".new")
        draft.write_text(str(ahead_s))
        draft.replace(self._clock)

    def and_others(self) -> Published:
        """What all cars sent, those of the deployment first. Raises WorldDown before all have ended."""
        whole, own = self._deployment.published(), published(self._folder)
        return Published(
            whole.car_ids + own.car_ids,
            np.concatenate([whole.sent, own.sent]),
            np.concatenate([whole.acknowledged, own.acknowledged]),
        )
