"""What a person sees of the demo: one live table, at the end the ledger and the scorecard."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from local.ledger import Stage
from local.scorecard import Scorecard
from local.watch import Latency


@dataclass(frozen=True)
class Row:
    """One stage of the picture as it runs: rates and totals in messages."""

    stage: str
    per_s: float
    total: int
    waiting: int
    by: str


@dataclass(frozen=True)
class Picture:
    """Everything the live table shows."""

    elapsed_s: float
    duration_s: float
    cars_connected: int
    cars: int
    rows: Sequence[Row]
    model_version: int
    trainer: str
    latency: Latency
    anomalies: int
    recent: Sequence[dict[str, Any]]
    memory_mib: float
    restarts: int


def number(value: float) -> str:
    """With thin gaps between thousands: 12 345."""
    return f"{value:,.0f}".replace(",", " ")


def milliseconds(value: float | None) -> str:
    """A latency, or a dash where none was measured."""
    return "-" if value is None else f"{number(value)} ms"


def render(picture: Picture) -> RenderableType:
    """The live table."""
    head = Text.assemble(
        ("Connected cars ", "bold"),
        f"{_clock(picture.elapsed_s)} of {_clock(picture.duration_s)} · ",
        f"{number(picture.cars_connected)} of {number(picture.cars)} cars connected · ",
        f"{number(picture.memory_mib)} MiB · {picture.restarts} restarts",
    )
    stages = Table(expand=False)
    for title in ("stage", "messages/s", "total", "waiting", "by"):
        stages.add_column(title, justify="left" if title in ("stage", "by") else "right")
    for row in picture.rows:
        stages.add_row(row.stage, number(row.per_s), number(row.total), number(row.waiting), row.by)
    model = f"version {picture.model_version} in use" if picture.model_version else "none yet"
    latency = picture.latency
    facts = Text(
        f"model: {model} · trainer: {picture.trainer}\n"
        f"car to anomaly: p50 {milliseconds(latency.p50_ms)}, p99 {milliseconds(latency.p99_ms)} · "
        f"{number(picture.anomalies)} anomalies"
    )
    return Group(head, stages, facts, anomalies_table(picture.recent))


def anomalies_table(recent: Sequence[dict[str, Any]]) -> Table:
    """The latest anomalies with the signals that made them."""
    table = Table(title="latest anomalies", title_justify="left")
    for title in ("sampled", "car", "seq", "score", "threshold", "model", "signals"):
        table.add_column(title)
    for anomaly in reversed(recent):
        signals = ", ".join(f"{s['name']} {s['value']:.4g} ({s['share']:.0%})" for s in anomaly["signals"])
        table.add_row(
            time.strftime("%H:%M:%S", time.localtime(anomaly["sampled_at"] / 1000)),
            anomaly["car_id"],
            str(anomaly["seq"]),
            f"{anomaly['score']:.2f}",
            f"{anomaly['threshold']:.2f}",
            str(anomaly["model_version"]),
            signals,
        )
    return table


def line(picture: Picture) -> str:
    """The same for a log: one line."""
    rates = ", ".join(f"{row.stage} {number(row.per_s)}/s" for row in picture.rows)
    lag = max((row.waiting for row in picture.rows), default=0)
    return (
        f"{_clock(picture.elapsed_s)} | {number(picture.cars_connected)} cars | {rates} | "
        f"lag {number(lag)} | model {picture.model_version} | "
        f"p99 {milliseconds(picture.latency.p99_ms)} | {number(picture.anomalies)} anomalies | "
        f"{number(picture.memory_mib)} MiB"
    )


def show_ledger(console: Console, stages: Sequence[Stage]) -> None:
    """The ledger as a table."""
    table = Table(title="Ledger: records by (car_id, seq)", title_justify="left")
    for title in ("stage", "expected", "distinct", "duplicates", "lost"):
        table.add_column(title, justify="left" if title == "stage" else "right")
    for stage in stages:
        lost = Text(number(stage.lost), style="bold red" if stage.lost else "green")
        counts = (number(stage.expected), number(stage.distinct), number(stage.duplicates))
        table.add_row(stage.stage, *counts, lost)
    console.print(table)


def show_scorecard(console: Console, card: Scorecard) -> None:
    """The scorecard as a table."""
    table = Table(title="Scorecard: faults by component", title_justify="left")
    for title in ("component", "present", "half grown", "failed", "found"):
        table.add_column(title, justify="left" if title == "component" else "right")
    for component, row in card.per_component().items():
        table.add_row(component, *(str(row[key]) for key in ("present", "half_grown", "failed", "found")))
    summary = card.as_dict()
    table.add_section()
    table.add_row(
        "all",
        str(summary["faults_present"]),
        str(summary["faults_half_grown"]),
        str(sum(row["failed"] for row in card.per_component().values())),
        str(summary["faults_found"]),
    )
    console.print(table)
    lead = summary["median_lead_s"]
    console.print(
        f"found = {summary['rule']}; of the half grown ones {summary['half_grown_found']} were found; "
        f"median lead before failure {'-' if lead is None else f'{lead:.0f} s'}; "
        f"{summary['false_alarms']} false alarms on {number(card.cars)} cars in {summary['seconds']:.0f} s"
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:d}:{int(seconds) % 60:02d}"
