"""One deployment carried through several rates: CPU and memory of every component at each of them.

It is a single deployment because the first minutes of a JVM cost up to half as much again. It is warmed up
once, at the highest rate with half of the fleet (which also shows the memory of a car), and then measured at
every rate with the whole fleet. Between two rates only the cars stop and start again, with consecutive seqs.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from loadtest import children
from loadtest import deployment as tested
from loadtest.plan.costs import MeasuredRun
from local.champion import KEPT
from local.deployment import Deployment, Plan
from local.supervisor import Child
from local.usage import Usage
from local.watch import scrape
from plumbing.life import WorldDown

# Short enough that a car's journal has the same size at every rate: then the cars continue at the next rate.
_BUFFER_S = 1.0
_CONNECTS_PER_S = 2_500
_CONNECTED_WITHIN_S = 120.0
_SETTLE_S = 6.0
_TICK_S = 1.0
# The simulators publish their counts in steps of up to half a second.
_RATE_SHARE_MIN = 0.9


def climb(
    plan: Plan, rates: Sequence[int], *, warm_s: float, hold_s: float, say: Callable[[str], Any]
) -> list[MeasuredRun]:
    """Half of the fleet of `plan` at the highest rate after `warm_s`, then all of it at each of `rates`.

    Raises WorldDown where something does not start, or a rate is not reached.
    """
    deployment = Deployment(plan)
    try:
        tested.start(deployment, KEPT, say)
        runs = []
        for halves, rate, settle_s in [(1, max(rates), warm_s), *((2, rate, _SETTLE_S) for rate in rates)]:
            runs.append(run := _measure(deployment, halves, rate, settle_s, hold_s))
            say(f"{run.cars} cars, {run.rate:.0f} messages/s: {sum(run.cores.values()):.2f} cores")
        return runs
    finally:
        deployment.stop()


def _measure(deployment: Deployment, halves: int, rate: int, settle_s: float, hold_s: float) -> MeasuredRun:
    """One or both halves of the fleet, sending `rate` messages/s together."""
    supervisor, plan = deployment.supervisor, deployment.plan
    ports = [plan.ports.simulator + half for half in range(halves)]
    fleets = [_fleet(plan, half, port, rate / halves) for half, port in enumerate(ports)]
    for fleet in fleets:
        supervisor.start(fleet)
    supervisor.wait_ready([fleet.name for fleet in fleets], _CONNECTED_WITHIN_S)
    _wait(deployment, settle_s)
    usage, before, began = Usage(supervisor), _acknowledged(ports), time.monotonic()
    _wait(deployment, hold_s)
    reached = (_acknowledged(ports) - before) / (time.monotonic() - began)
    used = {name: use for name, use in usage.by_component().items() if use.processes}
    run = MeasuredRun(
        cars=halves * (plan.cars // 2),
        rate=round(reached, 1),
        processes={name: use.processes for name, use in used.items()},
        cores={name: round(use.cpu_percent / 100, 4) for name, use in used.items()},
        memory_mib={name: use.rss_mib for name, use in used.items()},
    )
    for fleet in fleets:
        supervisor.stop(fleet.name)
    if reached < _RATE_SHARE_MIN * rate:
        raise WorldDown(f"{reached:.0f} messages/s instead of {rate}: more than this machine carries now")
    return run


def _fleet(plan: Plan, half: int, port: int, rate: float) -> Child:
    cars = plan.cars // 2
    return children.fleet(
        f"simulator-{half}",
        port,
        cars=cars,
        mqtt_brokers=plan.mqtt_brokers,
        run_dir=(plan.fleet_dir or plan.run_dir) / f"half-{half}",
        first_car=half * cars,
        rate_hz=rate / cars,
        buffer_s=_BUFFER_S,
        connects_per_s=_CONNECTS_PER_S,
    )


def _acknowledged(ports: Sequence[int]) -> float:
    return sum(scrape(port).get("simulator_acknowledged_messages_total", 0.0) for port in ports)


def _wait(deployment: Deployment, seconds: float) -> None:
    """Raises WorldDown where a child died: the start of its successor would distort the figures."""
    until, supervisor = time.monotonic() + seconds, deployment.supervisor
    while time.monotonic() < until:
        supervisor.tick()
        if supervisor.restarts or supervisor.events:
            raise WorldDown(f"a process died during the measurement: {'; '.join(supervisor.events)}")
        time.sleep(_TICK_S)
