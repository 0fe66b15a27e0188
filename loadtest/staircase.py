"""One deployment carried through several rates: what every component takes at each of them.

One deployment, because the first minutes of a JVM cost up to half as much again: it is warmed up once, at the
highest rate, with half of the fleet (so that the memory of a car shows, too), and then measured at every rate
with the whole fleet. Between two rates only the cars stop and start again, and go on with their seqs.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from loadtest.costs import Measured
from local import champion
from local.deployment import SERVICES_WITHIN_S, Deployment, Plan
from local.java import ROOT
from local.supervisor import Child
from local.usage import Usage, component
from local.watch import scrape
from plumbing.life import WorldDown

HALVES = 2  # fleets of half the cars each
# So few that a car's journal is of the same size at every rate: then the same cars go on at another one.
_BUFFER_S = 1.0
_CONNECTS_PER_S = 2_500
_CONNECTED_WITHIN_S, _MODEL_WITHIN_S = 120.0, 60.0
_SETTLE_S = 6.0
_TICK_S = 1.0
# The parents show their counts in steps of up to half a second.
_RATE_SHARE_MIN = 0.9


class Staircase:
    """A deployment, and its measurements. As a context manager it ends whatever runs."""

    def __init__(self, plan: Plan, model: Path, say: Callable[[str], object]) -> None:
        """`plan.cars` are the whole fleet. Raises WorldDown where something stands in the way."""
        self._plan, self._model, self._say = plan, model, say
        self._deployment = Deployment(plan)

    def __enter__(self) -> "Staircase":
        return self

    def __exit__(self, *_: object) -> None:
        self._deployment.stop()

    def climb(self, rates: Sequence[int], *, warm_s: float, hold_s: float) -> list[Measured]:
        """First half of the fleet at the highest rate, after `warm_s`, then all of it at each of `rates`.

        Raises WorldDown where something does not start, or a rate is not reached.
        """
        self._start()
        found = [self._measure(max(rates), halves=1, settle_s=warm_s, hold_s=hold_s)]
        return found + [
            self._measure(rate, halves=HALVES, settle_s=_SETTLE_S, hold_s=hold_s) for rate in rates
        ]

    def _start(self) -> None:
        deployment, plan = self._deployment, self._plan
        self._say(f"starting {plan.mqtt_shards} mosquitto, 2 Kafka, MirrorMaker 2, bridge, scorers")
        deployment.start_brokers()
        if champion.publish(deployment.cloud.bootstrap, self._model) is None:
            raise WorldDown(f"{self._model} is no model that the scorers read: `make scale` trains one")
        deployment.start_mirror()
        deployment.start_bridge()
        for number in range(plan.scorers):
            deployment.start_scorer(number)
        deployment.supervisor.wait_ready(plan.bridge_names, SERVICES_WITHIN_S)
        deployment.supervisor.wait_ready([f"scorer-{n}" for n in range(plan.scorers)], _MODEL_WITHIN_S)

    def _measure(self, rate: int, *, halves: int, settle_s: float, hold_s: float) -> Measured:
        supervisor = self._deployment.supervisor
        fleets = [self._fleet(half, rate / halves) for half in range(halves)]
        for fleet in fleets:
            supervisor.start(fleet)
        supervisor.wait_ready([fleet.name for fleet in fleets], _CONNECTED_WITHIN_S)
        self._wait(settle_s)
        usage, before, began = Usage(supervisor), self._acknowledged(halves), time.monotonic()
        self._wait(hold_s)
        reached = (self._acknowledged(halves) - before) / (time.monotonic() - began)
        cars = halves * self._cars
        found = Measured.of(
            {
                "cars": cars,
                "rate_msgs_per_s": round(reached, 1),
                "components": {
                    name: {"processes": count, **vars(usage.by_component()[name])}
                    for name, count in self._processes(fleets).items()
                },
            }
        )
        for fleet in fleets:
            supervisor.stop(fleet.name)
        if reached < _RATE_SHARE_MIN * rate:
            raise WorldDown(f"{reached:.0f} messages/s instead of {rate}: more than this machine carries now")
        self._say(f"{cars} cars, {reached:.0f} messages/s: {sum(found.cores.values()):.2f} cores")
        return found

    @property
    def _cars(self) -> int:
        """Of a half."""
        return self._plan.cars // HALVES

    def _fleet(self, half: int, rate: float) -> Child:
        port = self._plan.ports.simulator + half
        folder = (self._plan.fleet_dir or self._plan.run_dir) / f"half-{half}"
        flags = {
            "--mqtt-brokers": self._plan.mqtt_brokers,
            "--run-dir": folder,
            "--cars": self._cars,
            "--first-car": half * self._cars,
            "--rate-hz": rate / self._cars,
            "--buffer-s": _BUFFER_S,
            "--connects-per-s": _CONNECTS_PER_S,
            "--metrics-port": port,
        }
        argv = [sys.executable, "-m", "simulator", *(str(word) for flag in flags.items() for word in flag)]

        def connected() -> bool:
            return scrape(port).get("simulator_connected_clients", 0.0) > self._cars

        return Child(f"simulator-{half}", argv, connected, restart=False, env={"PYTHONPATH": str(ROOT)})

    def _acknowledged(self, halves: int) -> float:
        ports = [self._plan.ports.simulator + half for half in range(halves)]
        return sum(scrape(port).get("simulator_acknowledged_messages_total", 0.0) for port in ports)

    def _wait(self, seconds: float) -> None:
        """Raises WorldDown where a child died: what its successor takes at its start is no figure."""
        until, supervisor = time.monotonic() + seconds, self._deployment.supervisor
        while time.monotonic() < until:
            supervisor.tick()
            if supervisor.restarts or supervisor.events:
                raise WorldDown(f"a child did not live through it: {'; '.join(supervisor.events)}")
            time.sleep(_TICK_S)

    def _processes(self, fleets: Sequence[Child]) -> dict[str, int]:
        """How many do the work of each component; a simulator's parent only looks after its workers."""
        running = [child for child in self._deployment.supervisor.children.values() if child.process]
        counts = Counter(component(child.name) for child in running)
        return {**counts, "simulator": sum(len(fleet.tree()) - 1 for fleet in fleets)}
