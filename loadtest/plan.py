"""`make plan`: cores, memory, partitions and replicas for a fleet, from the measured cost of a message."""

import math
import os
import platform
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from contract.topics import TELEMETRY_PARTITIONS
from loadtest import costs
from loadtest.costs import COMPONENTS, Cost, Measured
from loadtest.scale import first_model
from loadtest.scale import settings as scale
from loadtest.staircase import Staircase
from local import preflight
from local.champion import KEPT
from local.deployment import Plan
from local.screen import number
from plumbing.life import WorldDown
from plumbing.settings import load, setting

# Of a core: above it a queue grows at every hiccup.
_BUSY_MAX = 0.6
# So many may die at once without the others being overrun.
_SPARE = 1
# Kernel memory of a connection's end: 100 000 cars took 633 MiB for both (docs/measurements.md).
_KERNEL_KIB_PER_CONNECTION = 4
# How far a prediction may be off, of what is measured; components below this share of a core are noise.
_OFF_MAX, _CORES_MIN = 0.2, 0.05


@dataclass(frozen=True)
class Settings:
    """Flags, environment (PLAN_…) or these defaults."""

    cars: int = setting("how many cars", default=1_000)
    rate_hz: float = setting("samples a second of each car", default=1.0)
    open_files: int = setting(
        "connections that a broker's process may hold; 0: this machine's limit", default=0
    )
    measured: Path | None = setting(
        "file of the measured runs that the costs come from; none: loadtest/measured.json", default=None
    )
    measure: bool = setting("run the fleet at --rates and write --measured anew", default=False)
    check: bool = setting(
        "run the fleet at --check-rates, too, and compare with what is predicted", default=False
    )
    rates: tuple[int, ...] = setting("messages a second that are measured", default=(2_000, 6_000, 10_000))
    check_rates: tuple[int, ...] = setting("messages a second that are held out", default=(4_000, 8_000))
    measure_cars: int = setting("cars of these runs", default=10_000)
    warm_s: float = setting("so long before the first of them: the JVMs compile what is busy", default=40.0)
    minutes: float = setting("how long each rate is measured", default=0.35)
    shards: int = setting("MQTT broker shards of these runs", default=2)
    port_offset: int = setting("added to every port of these runs", default=0)
    run_dir: Path = setting("where these runs write", default=Path("var/plan"))

    def __post_init__(self) -> None:
        if self.cars < 1 or self.rate_hz <= 0:
            raise ValueError("--cars and --rate-hz must be positive")
        if self.open_files < 0 or 0 < self.open_files <= preflight.SPARE_FILES:
            raise ValueError(f"--open-files {self.open_files} must be above {preflight.SPARE_FILES}, or 0")
        if self.measure and len(set(self.rates)) < 2:
            raise ValueError("--rates: a line needs two rates at least")


@dataclass(frozen=True)
class Need:
    """Of one component: `replicas` processes that take so many cores and so much memory together."""

    component: str
    replicas: int
    cores: float
    memory_mib: float
    why: str


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 where a prediction was checked and is more than 20 % off."""
    told = load(Settings, prefix="PLAN", argv=arguments, environ=os.environ, description=__doc__ or "")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    try:
        held_out = _measure(told, console) if told.measure else []
        about, runs = costs.read(told.measured or costs.MEASURED)
        cost = costs.fit(runs)
    except ValueError as error:
        raise WorldDown(str(error)) from error
    if told.check:
        return _check(told, cost, held_out or _climb(told, told.check_rates, console)[1:], console)
    if not told.measure:
        _show(told, needs(told.cars, told.rate_hz, cost, room(told.open_files)), about, console)
    return 0


def room(open_files: int) -> int:
    """Cars that a broker's process can hold."""
    return open_files - preflight.SPARE_FILES if open_files else preflight.cars_per_shard()


def needs(cars: int, rate_hz: float, cost: Mapping[str, Cost], cars_per_shard: int) -> list[Need]:
    """What a fleet takes, component by component."""
    rate = cars * rate_hz
    by_connections = math.ceil(cars / cars_per_shard)
    shards = max(by_connections, _processes(cost["mqtt"], rate))
    bridges = min(shards, _processes(cost["bridge"], rate))
    scorers = _processes(cost["scorer"], rate) + _SPARE
    wanted = {
        "mqtt": (shards, f"{number(math.ceil(cars / shards))} of {number(cars_per_shard)} connections each"),
        "bridge": (bridges, "a shard belongs to one bridge"),
        "edge": (1, "the cores of a cluster; three brokers for three copies take three times as much"),
        "scorer": (scorers, f"{_SPARE} to spare"),
        "mirror": (_processes(cost["mirror"], rate), "tasks.max as many"),
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
        for name, (replicas, why) in wanted.items()
    ]


def partitions(scorers: int) -> int:
    """Of the telemetry topic, so that twice as many scorers would still have work."""
    return max(TELEMETRY_PARTITIONS, 2 * scorers)


def _processes(cost: Cost, rate: float) -> int:
    """So many, each of one core, that none is busier than it should be."""
    return max(1, math.ceil(cost.cores_per_message * rate / max(_BUSY_MAX - cost.base_cores, 0.1)))


def _show(told: Settings, found: list[Need], about: Mapping[str, Any], console: Console) -> None:
    rate = told.cars * told.rate_hz
    table = Table(
        title=f"{number(told.cars)} cars at {told.rate_hz:g} Hz: {number(rate)} messages/s",
        title_justify="left",
    )
    for name in ("component", "replicas", "cores", "memory, MiB", ""):
        table.add_column(name, justify="left" if name in ("component", "") else "right")
    for need in found:
        table.add_row(
            need.component, str(need.replicas), f"{need.cores:.2f}", number(need.memory_mib), need.why
        )
    table.add_section()
    kernel_mib = told.cars * _KERNEL_KIB_PER_CONNECTION / 1024
    table.add_row(
        "kernel", "", "", number(kernel_mib), "the brokers' sockets; as much again where the cars run"
    )
    total_mib = kernel_mib + sum(need.memory_mib for need in found)
    table.add_row("all", "", f"{sum(need.cores for need in found):.2f}", number(total_mib), "")
    console.print(table)
    scorers = next(need.replicas for need in found if need.component == "scorer")
    console.print(
        f"partitions of telemetry: {partitions(scorers)} (contract/topics.py has {TELEMETRY_PARTITIONS}; "
        "scorers beyond it have nothing to do)\n"
        f"costs: measured {about['date']} on {about['machine']}; "
        f"no process busier than {_BUSY_MAX:.0%} of a core"
    )


def _climb(told: Settings, rates: Sequence[int], console: Console) -> list[Measured]:
    """Half of the fleet at the highest rate, then all of it at each. Raises WorldDown where that fails."""
    if not first_model.is_kept(KEPT):
        console.print("no model is kept that the scorers read: training one with a small fleet first")
        first_model.train(KEPT, told.run_dir, told.port_offset)
    journals = scale.memory_dir(told.port_offset)
    plan = Plan(
        run_dir=told.run_dir,
        cars=told.measure_cars,
        shards=told.shards,
        fleet_dir=journals,
        port_offset=told.port_offset,
    )
    try:
        with Staircase(plan, KEPT, lambda text: console.print(text, soft_wrap=True)) as staircase:
            return staircase.climb(sorted(rates), warm_s=told.warm_s, hold_s=60 * told.minutes)
    finally:
        if journals is not None:
            shutil.rmtree(journals, ignore_errors=True)


def _measure(told: Settings, console: Console) -> list[Measured]:
    """Writes what was measured at --rates. Returns what was at --check-rates, with --check."""
    held_out = set(told.check_rates) if told.check else set()
    rates = sorted({*told.rates, *held_out})
    found = _climb(told, rates, console)
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores ({_processor()}), {platform.system()} {platform.machine()}",
        "command": f"python -m loadtest plan --measure --rates {','.join(map(str, told.rates))} "
        f"--measure-cars {told.measure_cars} --shards {told.shards} --minutes {told.minutes:g}",
    }
    path = told.measured or costs.MEASURED
    kept = [run for run, rate in zip(found[1:], rates, strict=True) if rate not in held_out]
    costs.write(path, about, [found[0], *kept])
    console.print(f"written to {path}")
    return [run for run, rate in zip(found[1:], rates, strict=True) if rate in held_out]


def _check(told: Settings, cost: Mapping[str, Cost], held_out: Sequence[Measured], console: Console) -> int:
    worst = max(abs(_compare(run, cost, console)) for run in held_out)
    console.print(f"the sum is at most {worst:.0%} off; it may be {_OFF_MAX:.0%}")
    return 1 if worst > _OFF_MAX else 0


def _compare(found: Measured, cost: Mapping[str, Cost], console: Console) -> float:
    """How far the predicted sum is off, of the measured one."""
    table = Table(title=f"{number(found.rate)} messages/s, cores", title_justify="left")
    for name in ("component", "measured", "predicted", "off"):
        table.add_column(name, justify="left" if name == "component" else "right")
    predicted = {name: cost[name].cores(found.processes[name], found.rate) for name in COMPONENTS}
    rows = [*((name, found.cores[name], predicted[name]) for name in COMPONENTS)]
    rows.append(("all", sum(found.cores.values()), sum(predicted.values())))
    for name, measured, expected in rows:
        off = f"{expected / measured - 1:+.0%}" if measured >= _CORES_MIN else "-"
        table.add_row(name, f"{measured:.3f}", f"{expected:.3f}", off)
    console.print(table)
    return rows[-1][2] / rows[-1][1] - 1


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )
