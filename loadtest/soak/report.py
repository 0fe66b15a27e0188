"""The results of a soak run: summary.json, the table, the plot, the verdict."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rich.console import Console
from rich.text import Text

from loadtest import machine, output
from loadtest.soak import plot
from loadtest.soak.samples import Sample, slope_per_h
from loadtest.soak.settings import Settings
from local import screen
from local.ledger import Stage

# Jobs that come and go have no slope.
_JOBS = ("trainer", "edge-transactions", "cloud-transactions")
_COLUMNS = ("mib", "descriptors", "threads")


@dataclass(frozen=True)
class SoakResults:
    """A run at its end."""

    settings: Settings
    samples: Sequence[Sample]
    stages: Sequence[Stage]  # the ledger
    restarts: int
    interrupted: bool

    @cached_property
    def processes(self) -> dict[str, dict[str, Any]]:
        """By child: its use at the end of the warm-up and at the end of the run, and how it grew an hour."""
        names = {name for sample in self.samples for name in sample.uses if name not in _JOBS}
        rows = {}
        for name in sorted(names):
            kept = [sample for sample in self._warm if name in sample.uses]
            at_s = [sample.at_s for sample in kept]
            row: dict[str, Any] = {}
            for column in _COLUMNS:
                values = [getattr(sample.uses[name], column) for sample in kept]
                row |= {f"{column}_first": values[0], f"{column}_last": values[-1]} if values else {}
                row[f"{column}_per_h"] = _rounded(slope_per_h(at_s, values))
            rows[name] = row
        return rows

    @property
    def title(self) -> str:
        """What was run, for the plot."""
        return f"{self.settings.cars} cars, {self.settings.rate:.0f} messages/s, {time.strftime('%Y-%m-%d')}"

    @property
    def _warm(self) -> list[Sample]:
        """The samples after the warm-up."""
        until_s = self.settings.warm_share * (self.samples[-1].at_s if self.samples else 0.0)
        return [sample for sample in self.samples if sample.at_s >= until_s]

    @property
    def broken(self) -> list[str]:
        """Every bar that was missed, in words."""
        most = self.settings.slope_mib_per_h_max
        broken = [f"{stage.lost} records lost: {stage.stage}" for stage in self.stages if stage.lost]
        broken += [
            f"{stage.duplicates} records twice: {stage.stage}" for stage in self.stages if stage.duplicates
        ]
        for name, row in self.processes.items():
            if row["mib_per_h"] is None:
                broken.append(f"{name} was seen too rarely for a slope")
            elif row["mib_per_h"] > most:
                broken.append(f"{name} grows by {row['mib_per_h']} MiB an hour, {most} are allowed")
        if self.restarts:
            broken.append(f"{self.restarts} restarts")
        if self.interrupted:
            broken.append("interrupted")
        return broken

    @property
    def summary(self) -> dict[str, Any]:
        """The content of summary.json."""
        last = self.samples[-1] if self.samples else None
        worst = {
            stage: max(sample.behind[stage] for sample in self._warm)
            for stage in (last.behind if last else ())
        }
        return {
            "date": time.strftime("%Y-%m-%d"),
            "commit": machine.commit(),
            "machine": machine.describe(),
            "hours": round(last.at_s / 3_600, 2) if last else 0.0,
            "cars": self.settings.cars,
            "rate": self.settings.rate,
            "messages": self.stages[0].expected,
            "stages": [vars(stage) for stage in self.stages],
            "processes": self.processes,
            "files": {"first": self._warm[0].files, "last": last.files} if last else {},
            "disk_mib": {"first": self._warm[0].disk_mib, "last": last.disk_mib} if last else {},
            "waiting_max": worst,
            "restarts": self.restarts,
            "broken": self.broken,
        }


def show(results: SoakResults, console: Console) -> int:
    """Write and print everything; 0 where every bar was met."""
    folder, summary = results.settings.run_dir, results.summary
    output.write_json(folder / "summary.json", summary)
    plot.draw(results.samples, list(results.processes), results.title, folder / "soak.png")
    table = screen.table(
        f"Processes over {summary['hours']} h, after the warm-up",
        "process", "MiB", "MiB an hour", "descriptors", "threads",
    )  # fmt: skip
    for name, row in summary["processes"].items():
        grows = row["mib_per_h"] is None or row["mib_per_h"] > results.settings.slope_mib_per_h_max
        table.add_row(
            name,
            *([f"{row['mib_first']:.0f} → {row['mib_last']:.0f}"] if "mib_first" in row else ["-"]),
            Text(output.shown(row["mib_per_h"]), style="bold red" if grows else "green"),
            *(f"{row.get(f'{each}_first', '-')} → {row.get(f'{each}_last', '-')}" for each in _COLUMNS[1:]),
        )
    console.print(table)
    screen.show_ledger(console, results.stages)
    console.print(f"written to {folder}/summary.json and {folder}/soak.png; logs in {folder}/logs")
    for what in summary["broken"]:
        console.print(f"[bold red]BROKEN: {what}[/]")
    if not summary["broken"]:
        console.print("[green]nothing grew, nothing was lost[/]")
    return 1 if summary["broken"] else 0


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
