"""The figures beside their bars: a table for people, summary.json for programs."""

import json
import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from loadtest.bench import physics
from loadtest.bench.run import Run
from local.java import ROOT
from local.screen import number


@dataclass(frozen=True)
class Bar:
    """What a figure must reach."""

    value: float
    at_least: bool = False

    def met(self, figure: float) -> bool:
        """Whether `figure` reaches it; NaN does not."""
        return figure >= self.value if self.at_least else figure <= self.value

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {shown(self.value)}"


BARS: dict[str, dict[str, Bar]] = {
    "bridge": {
        "drain_msgs_per_s": Bar(200_000, at_least=True),
        "drain_us_per_msg": Bar(4),
        "steady_us_per_msg": Bar(15),
        "steady_p99_ms": Bar(50),
    },
    "scorer": {
        "records_per_s": Bar(800_000, at_least=True),
        "us_per_record": Bar(1.2),
        "state_records_per_s": Bar(500_000, at_least=True),
        "state_us_per_record": Bar(2),
        "restore_100k_cars_s": Bar(5),
        "steady_p50_ms": Bar(15),
        "steady_p99_ms": Bar(30),
    },
    "simulator": {"us_per_publish": Bar(25)},
    "physics": {f"per_s_of_{cars}_cars": Bar(800_000, at_least=True) for cars in physics.SIZES},
}


def summary(run: Run) -> dict[str, Any]:
    """The content of summary.json; `not_measured` and `failures` are empty where all went well."""
    peers = {name: figures for stage in run.theirs.values() for name, figures in stage.items()}
    return {
        **run.ours,
        "peers": peers,
        "not_measured": run.missing,
        "failures": run.failures,
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "commit": _commit(),
        "machine": _machine(),
    }


def write(run: Run) -> None:
    """`summary.json` in the run's folder."""
    run.run_dir.mkdir(parents=True, exist_ok=True)
    path = run.run_dir / "summary.json"
    path.write_text(json.dumps(summary(run), indent=2) + "\n", encoding="utf-8")


def show(run: Run) -> None:
    """A table of every stage, what could not be measured, and where the rest lies."""
    for stage, figures in run.ours.items():
        run.console.print(table(stage, figures, run.theirs.get(stage, {})))
    for name, why in (run.missing | run.failures).items():
        run.console.print(Text(f"{name}: not measured: {why}", style="bold red"))
    machine = _machine()
    run.console.print(
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, commit {_commit()}; "
        f"load average {machine['load_average']} at the end; written to {run.run_dir}/summary.json",
        soft_wrap=True,
    )


def table(stage: str, figures: dict[str, float], peers: dict[str, dict[str, float]]) -> Table:
    """One stage: a row a figure; ours, the bar, and each peer's."""
    bars = BARS.get(stage, {})
    result = Table(title=stage, title_justify="left")
    result.add_column("figure")
    for title in ("ours", "bar", *peers):
        result.add_column(title, justify="right")
    for key in dict.fromkeys([*figures, *(key for theirs in peers.values() for key in theirs)]):
        bar, value = bars.get(key), figures.get(key)
        style = "" if bar is None or value is None else "green" if bar.met(value) else "bold red"
        others = (shown(theirs.get(key)) for theirs in peers.values())
        result.add_row(key, Text(shown(value), style=style), str(bar or ""), *others)
    return result


def shown(value: float | None) -> str:
    """Three significant digits below a thousand, whole numbers with gaps above."""
    if value is None:
        return "-"
    return number(value) if abs(value) >= 1_000 else f"{value:.3g}"


def _commit() -> str:
    """The revision that was measured; with `+` where files differ from it."""
    revision = _git("rev-parse", "--short", "HEAD") or "unknown"
    return revision + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 1),
    }
