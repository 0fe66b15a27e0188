"""`make plan`: cores, memory, partitions and replicas for a fleet, from the measured cost of a message."""

import math
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from contract.topics import TELEMETRY_PARTITIONS
from loadtest import machine, output
from loadtest.deployment import ensure_model
from loadtest.plan import costs, staircase
from loadtest.plan.costs import COMPONENTS, Cost, MeasuredRun
from loadtest.scale.settings import memory_dir
from local import preflight, screen
from local.champion import KEPT
from local.deployment import Plan
from local.screen import number
from plumbing.life import WorldDown
from plumbing.settings import load, setting

# Share of a core that a process may use: above it a queue grows at every hiccup.
_BUSY_MAX = 0.6
# Scorers that may die at once without the others being overloaded.
_SPARE = 1
# Kernel memory of one end of a connection: 100 000 cars took 633 MiB for both ends (docs/measurements.md).
_KERNEL_KIB_PER_CONNECTION = 4
# Largest relative error of a prediction; components below this many cores are noise.
_ERROR_MAX, _CORES_MIN = 0.2, 0.05


@dataclass(frozen=True)
class Settings:
    """Flags, environment (PLAN_…) or these defaults."""

    cars: int = setting("how many cars", default=1_000, least=1)
    rate_hz: float = setting("samples a second of each car", default=1.0, above=0)
    measured: Path | None = setting(
        "file of the measured runs that the costs come from; none: loadtest/plan/measured.json", default=None
    )
    measure: bool = setting("run the fleet at --rates and write --measured anew", default=False)
    check: bool = setting("run the fleet at --check-rates, and compare with the prediction", default=False)
    rates: tuple[int, ...] = setting("messages a second that are measured", default=(2_000, 6_000, 10_000))
    check_rates: tuple[int, ...] = setting(
        "messages a second that are predicted and not fitted", default=(4_000, 8_000)
    )
    measure_cars: int = setting("cars of these runs", default=10_000)
    warm_s: float = setting(
        "seconds before the first of these runs, in which the JVMs compile their hot code", default=40.0
    )
    minutes: float = setting("how long each rate is measured", default=0.35)
    shards: int = setting("MQTT broker shards of these runs", default=2)
    port_offset: int = setting("added to every port of these runs", default=0)
    run_dir: Path = setting("folder of logs and state of these runs", default=Path("var/plan"))

    def __post_init__(self) -> None:
        if self.measure and len(set(self.rates)) < 2:
            raise ValueError("--rates: a line needs two rates at least")


@dataclass(frozen=True)
class Need:
    """The size of one component."""

    component: str
    replicas: int
    cores: float  # of all replicas together
    memory_mib: float  # of all replicas together
    why: str


def main(arguments: Sequence[str]) -> int:
    """Exit status 1 where a prediction was checked and is more than 20 % off."""
    settings = load(
        Settings, prefix="PLAN", argv=arguments, description=__doc__, command="python -m loadtest plan"
    )
    console = output.console(120)
    try:
        held_out = _measure(settings, console) if settings.measure else []
        about, runs = costs.read(settings.measured or costs.MEASURED)
        cost = costs.fit(runs)
    except ValueError as error:
        raise WorldDown(str(error)) from error
    if settings.check:
        return _check(cost, held_out or _climb(settings, settings.check_rates, console)[1:], console)
    if not settings.measure:
        sizes = needs(settings.cars, settings.rate_hz, cost, preflight.cars_per_shard())
        _show(settings, sizes, about, console)
    return 0


def needs(cars: int, rate_hz: float, cost: Mapping[str, Cost], cars_per_shard: int) -> list[Need]:
    """The size of each component for a fleet."""
    rate = cars * rate_hz
    shards = max(math.ceil(cars / cars_per_shard), _processes(cost["mqtt"], rate))
    bridges = min(shards, _processes(cost["bridge"], rate))
    scorers = _processes(cost["scorer"], rate) + _SPARE
    sizes = {
        "mqtt": (shards, f"{number(math.ceil(cars / shards))} of {number(cars_per_shard)} connections each"),
        "bridge": (bridges, "a shard belongs to one bridge"),
        "edge": (1, "the cores of a cluster; three brokers for three copies take three times as much"),
        "scorer": (scorers, f"{_SPARE} of them is spare"),
        "mirror": (_processes(cost["mirror"], rate), "set tasks.max to this number"),
        "cloud": (1, "as edge"),
    }
    return [
        Need(
            component=name,
            replicas=replicas,
            cores=cost[name].cores(replicas, rate),
            memory_mib=cost[name].memory_mib(replicas, cars),
            why=why,
        )
        for name, (replicas, why) in sizes.items()
    ]


def partitions(scorers: int) -> int:
    """Partitions of the telemetry topic with which twice as many scorers would still have work."""
    return max(TELEMETRY_PARTITIONS, 2 * scorers)


def _processes(cost: Cost, rate: float) -> int:
    """Processes of one core each, so that none uses more than _BUSY_MAX of it."""
    return max(1, math.ceil(cost.cores_per_message * rate / max(_BUSY_MAX - cost.base_cores, 0.1)))


def _show(settings: Settings, sizes: list[Need], about: Mapping[str, Any], console: Console) -> None:
    rate = settings.cars * settings.rate_hz
    title = f"{number(settings.cars)} cars at {settings.rate_hz:g} Hz: {number(rate)} messages/s"
    table = screen.table(title, "component", "replicas", "cores", "memory, MiB", "", left=("",))
    for need in sizes:
        table.add_row(
            need.component, str(need.replicas), f"{need.cores:.2f}", number(need.memory_mib), need.why
        )
    table.add_section()
    kernel_mib = settings.cars * _KERNEL_KIB_PER_CONNECTION / 1024
    kernel = "the brokers' sockets; the machine of the cars needs as much again"
    table.add_row("kernel", "", "", number(kernel_mib), kernel)
    total_mib = kernel_mib + sum(need.memory_mib for need in sizes)
    table.add_row("all", "", f"{sum(need.cores for need in sizes):.2f}", number(total_mib), "")
    console.print(table)
    scorers = next(need.replicas for need in sizes if need.component == "scorer")
    console.print(
        f"partitions of telemetry: {partitions(scorers)} (contract/topics.py has {TELEMETRY_PARTITIONS}; "
        "scorers beyond that number would have nothing to do)\n"
        f"costs: measured {about['date']} on {about['machine']}; "
        f"no process uses more than {_BUSY_MAX:.0%} of a core"
    )


def _climb(settings: Settings, rates: Sequence[int], console: Console) -> list[MeasuredRun]:
    """Half of the fleet at the highest rate, then all of it at each of `rates`. Raises WorldDown."""
    ensure_model(KEPT, settings.run_dir, settings.port_offset, console.print)
    plan = Plan(
        run_dir=settings.run_dir,
        cars=settings.measure_cars,
        shards=settings.shards,
        fleet_dir=memory_dir(settings.port_offset),
        port_offset=settings.port_offset,
    )
    say, warm_s, hold_s = partial(console.print, soft_wrap=True), settings.warm_s, 60 * settings.minutes
    try:
        return staircase.climb(plan, sorted(rates), warm_s=warm_s, hold_s=hold_s, say=say)
    finally:
        if plan.fleet_dir is not None:
            shutil.rmtree(plan.fleet_dir, ignore_errors=True)


def _measure(settings: Settings, console: Console) -> list[MeasuredRun]:
    """Write the runs at --rates. Returns those at --check-rates, which are only measured with --check."""
    held_out = set(settings.check_rates) if settings.check else set()
    rates = sorted({*settings.rates, *held_out})
    half, *runs = _climb(settings, rates, console)
    host = machine.describe()
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{host['cores']} cores ({host['cpu']}), {platform.system()} {platform.machine()}",
        "command": f"python -m loadtest plan --measure --rates {','.join(map(str, settings.rates))} "
        f"--measure-cars {settings.measure_cars} --shards {settings.shards} --minutes {settings.minutes:g}",
    }
    path = settings.measured or costs.MEASURED
    fitted = [run for run, rate in zip(runs, rates, strict=True) if rate not in held_out]
    costs.write(path, about, [half, *fitted])
    console.print(f"written to {path}")
    return [run for run, rate in zip(runs, rates, strict=True) if rate in held_out]


def _check(cost: Mapping[str, Cost], runs: Sequence[MeasuredRun], console: Console) -> int:
    worst = max(abs(_compare(run, cost, console)) for run in runs)
    console.print(f"the sum is at most {worst:.0%} off; it may be {_ERROR_MAX:.0%}")
    return 1 if worst > _ERROR_MAX else 0


def _compare(run: MeasuredRun, cost: Mapping[str, Cost], console: Console) -> float:
    """Relative error of the predicted sum of cores."""
    title = f"{number(run.rate)} messages/s, cores"
    table = screen.table(title, "component", "measured", "predicted", "off")
    predicted = {name: cost[name].cores(run.processes[name], run.rate) for name in COMPONENTS}
    rows = [(name, run.cores[name], predicted[name]) for name in COMPONENTS]
    rows.append(("all", sum(run.cores.values()), sum(predicted.values())))
    for name, measured, expected in rows:
        off = f"{expected / measured - 1:+.0%}" if measured >= _CORES_MIN else "-"
        table.add_row(name, f"{measured:.3f}", f"{expected:.3f}", off)
    console.print(table)
    return rows[-1][2] / rows[-1][1] - 1
