"""What a run came to: summary.json, the tables, the bars beside their figures, the verdict."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.scale.bars import Bar, bars
from loadtest.scale.settings import Settings
from loadtest.scale.timeline import Timeline
from local import screen
from local.ledger import Stage
from local.usage import Use
from local.watch import Latency, Watch

# Which stage's messages a component works on, for its CPU per message.
_WORKS_ON = {
    "simulator": "cars", "mqtt": "cars", "bridge": "edge", "edge": "edge",
    "scorer": "scored", "mirror": "cloud", "cloud": "cloud",
}  # fmt: skip


@dataclass(frozen=True)
class Hold:
    """What was measured while all cars were connected; s since 1970, MiB. `own` is this command itself."""

    from_s: float
    to_s: float
    components: Mapping[str, Use] = field(default_factory=dict)
    processes: Mapping[str, int] = field(default_factory=dict)
    own_cpu_s: float = 0.0
    kernel_mib: float = 0.0
    simulators_rss_mib: Sequence[float] = ()

    @classmethod
    def missed(cls) -> "Hold":
        """Of a fleet that did not connect."""
        return cls(time.time(), time.time())


@dataclass(frozen=True)
class Results:
    """A run at its end. `one_car_mib`: RSS of a simulator's parent and of a worker without cars."""

    told: Settings
    timeline: Timeline
    started_at: float
    connected_at: float | None
    hold: Hold
    stages: Sequence[Stage]
    watch: Watch
    one_car_mib: tuple[float, float]
    restarts: int

    @cached_property
    def held(self) -> Timeline:
        """The looks of the hold."""
        return self.timeline.between(self.hold.from_s, self.hold.to_s)

    @property
    def lost(self) -> int:
        """Records that are missing at the stage where most are."""
        return max((stage.lost for stage in self.stages), default=0)

    @cached_property
    def car_to_anomaly(self) -> Latency:
        """Of the samples of the hold."""
        return self.watch.latency(self.hold.from_s)

    def bytes_per_car(self) -> float | None:
        """Of the simulator, over what it takes without cars; None where it was not measured."""
        rss, (parent, worker) = self.hold.simulators_rss_mib, self.one_car_mib
        if not rss or not worker:
            return None
        return 1024**2 * (sum(rss) - parent - worker * (len(rss) - 1)) / self.told.cars

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The content of summary.json."""
        told, hold, held, rates = self.told, self.hold, self.held, self.held.rates()
        processes_mib = sum(use.rss_mib for use in hold.components.values())
        per_car = self.bytes_per_car()
        connect_s = None if self.connected_at is None else round(self.connected_at - self.started_at, 1)
        return {
            "date": time.strftime("%Y-%m-%d", time.localtime(self.started_at)),
            "cars": told.cars,
            "rate_asked": told.rate,
            "hold_s": round(hold.to_s - hold.from_s, 1),
            "connected": min((point.connected for point in held.points), default=0),
            "seconds_to_connect": connect_s,
            "rate_msgs_per_s": round(min(rates.values()), 1),
            "rates": {stage: round(rate, 1) for stage, rate in rates.items()},
            "lost": self.lost,
            "stages": [stage.as_dict() for stage in self.stages],
            "car_to_anomaly_ms": _shown(self.car_to_anomaly),
            "car_to_score_ms": _shown(held.batch_age()),
            "puback_ms": _shown(held.puback()),
            "waiting": {stage: round(held.mean_waiting(stage), 1) for stage in rates},
            "components": {
                name: {
                    "cpu_percent": use.cpu_percent,
                    "rss_mib": use.rss_mib,
                    "processes": hold.processes[name],
                    "us_per_msg": _us_per_message(use.cpu_s, rates[_WORKS_ON[name]], held.seconds),
                }
                for name, use in hold.components.items()
                if name in _WORKS_ON
            },
            "this_command_cpu_percent": round(100 * hold.own_cpu_s / max(hold.to_s - hold.from_s, 1e-9), 1),
            "simulator_bytes_per_car": None if per_car is None else round(per_car),
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
        checked = bars(self.summary)
        content = self.summary | {"bars": [bar.as_dict() for bar in checked]}
        path = self.told.run_dir / "summary.json"
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        screen.show_ledger(console, self.stages)
        console.print(self._components())
        console.print(_bars(checked))
        console.print(
            f"written to {path} and {self.told.run_dir}/timeline.png; logs in {self.told.run_dir}/logs"
        )
        if self.lost:
            console.print(f"[bold red]{screen.number(self.lost)} records are lost[/]")
        if self.connected_at is None:
            console.print("[bold red]the fleet did not connect; see logs/simulator.log[/]")
        return 1 if self.lost or self.connected_at is None or not self.stages[0].expected else 0

    def _components(self) -> Table:
        summary, latencies = self.summary, self._latencies()
        title = f"Components over {summary['hold_s']:.0f} s with {screen.number(summary['connected'])} cars"
        table = Table(title=title, title_justify="left")
        for name in ("component", "processes", "CPU, %", "MiB", "µs/message", "latency"):
            table.add_column(name, justify="left" if name in ("component", "latency") else "right")
        for name, use in summary["components"].items():
            cells = (f"{use['cpu_percent']:.1f}", screen.number(use["rss_mib"]), f"{use['us_per_msg']:.1f}")
            table.add_row(name, str(use["processes"]), *cells, latencies.get(name, ""))
        table.add_section()
        cpu = sum(use["cpu_percent"] for use in summary["components"].values())
        memory = summary["memory_mib"]
        table.add_row("all", "", f"{cpu:.1f}", screen.number(memory["processes"]), "", latencies["all"])
        table.add_row("kernel", "", "", screen.number(memory["kernel"]), "", "its CPU is its callers'")
        table.add_row("this command", "", f"{summary['this_command_cpu_percent']:.1f}", "", "", "")
        return table

    def _latencies(self) -> dict[str, str]:
        """In words; means of what passes through follow from what waits (Little's law)."""
        held, rates = self.held, self.held.rates()
        return {
            "simulator": f"sample to PUBACK {_words(held.puback())}",
            "bridge": f"read to PUBACK, mean {_ms(held.mean_in_bridge(), rates['edge'])}",
            "scorer": f"sample to score {_words(held.batch_age())}",
            "mirror": f"to a reader in the cloud, mean {_ms(held.mean_waiting('cloud'), rates['cloud'])}",
            "all": f"car to anomaly {_words(self.car_to_anomaly)}",
        }


def _shown(latency: Latency) -> dict[str, Any]:
    return {"p50": latency.p50_ms, "p99": latency.p99_ms, "count": latency.count}


def _words(latency: Latency) -> str:
    return f"p50 {screen.milliseconds(latency.p50_ms)}, p99 {screen.milliseconds(latency.p99_ms)}"


def _ms(waiting: float, per_s: float) -> str:
    return screen.milliseconds(1000 * waiting / per_s if per_s > 0 else None)


def _us_per_message(cpu_s: float, per_s: float, seconds: float) -> float:
    return round(1e6 * cpu_s / (per_s * seconds), 2) if per_s * seconds > 0 else 0.0


def _bars(checked: Sequence[Bar]) -> Table:
    table = Table(title="Bars", title_justify="left")
    for name in ("what", "figure", "bar", ""):
        table.add_column(name, justify="right" if name in ("figure", "bar") else "left")
    for bar in checked:
        verdict = Text("met", style="green") if bar.met else Text("missed", style="bold red")
        table.add_row(bar.what, bar.shown, bar.limit_shown, verdict)
    return table
