"""The results of a run: summary.json, the tables, the figures beside their bars, the verdict."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest import output
from loadtest.output import Bar, shown
from loadtest.scale.settings import Settings
from loadtest.scale.timeline import Timeline
from local import screen
from local.ledger import Stage
from local.usage import Use
from local.watch import Latency, Watch

# The stage whose messages a component works on, for its CPU per message.
_STAGE_OF = {
    "simulator": "cars", "mqtt": "cars", "bridge": "edge", "edge": "edge",
    "scorer": "scored", "mirror": "cloud", "cloud": "cloud",
}  # fmt: skip
# Slightly below 1, because cars send in groups and counters are read one after another.
_RATE_SHARE_MIN = 0.99


@dataclass(frozen=True)
class Hold:
    """The time in which all cars were connected, and what was measured at its end; empty if they were not."""

    from_s: float  # since 1970
    to_s: float  # since 1970
    components: Mapping[str, Use] = field(default_factory=dict)  # CPU and memory
    own_cpu_s: float = 0.0  # CPU of this command itself
    kernel_mib: float = 0.0  # growth of the kernel's memory since the start of the run
    simulators_rss_mib: Sequence[float] = ()  # the simulator's parent, then its workers


@dataclass(frozen=True)
class ScaleResults:
    """A run at its end."""

    settings: Settings
    timeline: Timeline
    started_at: float  # of the fleet, s since 1970
    connected_at: float | None  # when all cars were connected, s since 1970; None: never
    hold: Hold
    stages: Sequence[Stage]  # the ledger
    watch: Watch
    without_cars_mib: tuple[float, float]  # RSS of a simulator's parent and of a worker without cars
    restarts: int

    @cached_property
    def held(self) -> Timeline:
        """The observations during the hold."""
        return self.timeline.between(self.hold.from_s, self.hold.to_s)

    @property
    def lost(self) -> int:
        """Records that are missing at the stage that misses most."""
        return max((stage.lost for stage in self.stages), default=0)

    @cached_property
    def car_to_anomaly(self) -> Latency:
        """Latency of the anomalies sampled during the hold."""
        return self.watch.latency(self.hold.from_s)

    def bytes_per_car(self) -> int | None:
        """The simulator's memory a car beyond what it takes without cars; None where it was not measured."""
        rss, (parent, worker) = self.hold.simulators_rss_mib, self.without_cars_mib
        if not rss or not worker:
            return None
        return round(1024**2 * (sum(rss) - parent - worker * (len(rss) - 1)) / self.settings.cars)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The content of summary.json without the bars."""
        hold, held, rates = self.hold, self.held, self.held.rates()
        processes_mib = sum(use.rss_mib for use in hold.components.values())
        return {
            "date": time.strftime("%Y-%m-%d", time.localtime(self.started_at)),
            "cars": self.settings.cars,
            "rate_asked": self.settings.rate,
            "hold_s": round(hold.to_s - hold.from_s, 1),
            "connected": min((point.picture.cars_connected for point in held.points), default=0),
            "seconds_to_connect": self.connected_at and round(self.connected_at - self.started_at, 1),
            "rate_msgs_per_s": round(min(rates.values()), 1),
            "rates": {stage: round(rate, 1) for stage, rate in rates.items()},
            "lost": self.lost,
            "stages": [vars(stage) for stage in self.stages],
            "car_to_anomaly_ms": _as_dict(self.car_to_anomaly),
            "car_to_score_ms": _as_dict(held.latency("batch_age")),
            "puback_ms": _as_dict(held.latency("puback")),
            "waiting": {stage: round(held.mean_waiting(stage), 1) for stage in rates},
            "components": {
                name: {
                    "cpu_percent": use.cpu_percent,
                    "rss_mib": use.rss_mib,
                    "processes": use.processes,
                    "us_per_msg": _us_per_message(use.cpu_s, rates[_STAGE_OF[name]] * held.seconds),
                }
                for name, use in hold.components.items()
                if name in _STAGE_OF
            },
            "this_command_cpu_percent": round(100 * hold.own_cpu_s / max(hold.to_s - hold.from_s, 1e-9), 1),
            "simulator_bytes_per_car": self.bytes_per_car(),
            "memory_mib": {
                "processes": round(processes_mib),
                "kernel": round(hold.kernel_mib),
                "all": round(processes_mib + hold.kernel_mib),
            },
            "late_tick_share": round(held.late_tick_share(), 4),
            "restarts": self.restarts,
        }

    def show(self, console: Console) -> int:
        """Write and print everything; 0 where the whole fleet connected and nothing was lost."""
        bars, folder = barred_figures(self.summary), self.settings.run_dir
        output.write_json(folder / "summary.json", self.summary | {"bars": bars})
        screen.show_ledger(console, self.stages)
        console.print(self._components_table())
        console.print(_bars_table(bars))
        console.print(f"written to {folder}/summary.json and {folder}/timeline.png; logs in {folder}/logs")
        if self.lost:
            console.print(f"[bold red]{screen.number(self.lost)} records are lost[/]")
        if self.connected_at is None:
            console.print("[bold red]the fleet did not connect; see logs/simulator.log[/]")
        return 1 if self.lost or self.connected_at is None or not self.stages[0].expected else 0

    def _components_table(self) -> Table:
        summary, latencies = self.summary, self._latencies()
        table = screen.table(
            f"Components over {summary['hold_s']:.0f} s with {screen.number(summary['connected'])} cars",
            "component", "processes", "CPU, %", "MiB", "µs/message", "latency", left=("latency",),
        )  # fmt: skip
        for name, use in summary["components"].items():
            cells = (f"{use['cpu_percent']:.1f}", screen.number(use["rss_mib"]), f"{use['us_per_msg']:.1f}")
            table.add_row(name, str(use["processes"]), *cells, latencies.get(name, ""))
        table.add_section()
        cpu = sum(use["cpu_percent"] for use in summary["components"].values())
        memory = summary["memory_mib"]
        table.add_row("all", "", f"{cpu:.1f}", screen.number(memory["processes"]), "", latencies["all"])
        note = "its CPU is counted in the processes that call it"
        table.add_row("kernel", "", "", screen.number(memory["kernel"]), "", note)
        table.add_row("this command", "", f"{summary['this_command_cpu_percent']:.1f}", "", "", "")
        return table

    def _latencies(self) -> dict[str, str]:
        """Latencies by component; the means follow from the messages that wait, by Little's law."""
        held, rates = self.held, self.held.rates()
        return {
            "simulator": f"sample to PUBACK {_percentiles(held.latency('puback'))}",
            "bridge": f"read to PUBACK, mean {_mean_ms(held.mean_in_bridge(), rates['edge'])}",
            "scorer": f"sample to score {_percentiles(held.latency('batch_age'))}",
            "mirror": f"to a cloud reader, mean {_mean_ms(held.mean_waiting('cloud'), rates['cloud'])}",
            "all": f"car to anomaly {_percentiles(self.car_to_anomaly)}",
        }


def barred_figures(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The figures of summary.json that have a bar: what, figure, must_be, limit, met."""
    anomaly_ms, rate = summary["car_to_anomaly_ms"], summary["rate_asked"]
    rows = [
        ("cars connected all the time", summary["connected"], Bar(summary["cars"], at_least=True)),
        ("seconds to connect", summary["seconds_to_connect"], Bar(60)),
        (
            "messages a second at every stage",
            summary["rate_msgs_per_s"], Bar(_RATE_SHARE_MIN * rate, at_least=True),
        ),
        ("records lost at any stage", summary["lost"], Bar(0)),
        ("car to anomaly, p50, ms", anomaly_ms["p50"], Bar(100)),
        ("car to anomaly, p99, ms", anomaly_ms["p99"], Bar(1_000)),
        ("simulator, bytes a car", summary["simulator_bytes_per_car"], Bar(2_048)),
        ("memory with the kernel's, MiB", summary["memory_mib"]["all"], Bar(8_192)),
    ]  # fmt: skip
    return [
        {
            "what": what,
            "figure": figure,
            "must_be": "at least" if bar.at_least else "at most",
            "limit": bar.limit,
            "met": bar.met(figure),
        }
        for what, figure, bar in rows
    ]


def _bars_table(bars: Sequence[Mapping[str, Any]]) -> Table:
    table = screen.table("Bars", "what", "figure", "bar", "", left=("",))
    for bar in bars:
        verdict = Text("met", style="green") if bar["met"] else Text("missed", style="bold red")
        limit = str(Bar(bar["limit"], bar["must_be"] == "at least"))
        table.add_row(bar["what"], shown(bar["figure"]), limit, verdict)
    return table


def _as_dict(latency: Latency) -> dict[str, Any]:
    return {"p50": latency.p50_ms, "p99": latency.p99_ms, "count": latency.count}


def _percentiles(latency: Latency) -> str:
    return f"p50 {screen.milliseconds(latency.p50_ms)}, p99 {screen.milliseconds(latency.p99_ms)}"


def _mean_ms(waiting: float, per_s: float) -> str:
    return screen.milliseconds(1000 * waiting / per_s if per_s > 0 else None)


def _us_per_message(cpu_s: float, messages: float) -> float:
    return round(1e6 * cpu_s / messages, 2) if messages > 0 else 0.0
