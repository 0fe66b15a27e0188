"""What a person sees of the demo: one live table, at the end the ledger and the scorecard."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from local.foresight import ALL, AlertVerdicts, ForesightTally
from local.ledger import Stage
from local.scorecard import Scorecard
from local.watch import Latency

# Heads, frames and facts of the live tables; an anomaly mostly takes two lines.
_LINES, _LINES_AN_ANOMALY = 18, 2


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
    tallies: Mapping[str, ForesightTally]
    anomalies: int
    recent: Sequence[dict[str, Any]]
    memory_mib: float
    restarts: int


def number(value: float) -> str:
    """With thin gaps between thousands: 12 345."""
    return f"{value:,.0f}".replace(",", " ")


def share(value: float | None) -> str:
    """In percent, or a dash of nothing."""
    return "-" if value is None else f"{value:.0%}"


def seconds(value: float | None) -> str:
    """Or a dash where there is none."""
    return "-" if value is None else f"{value:.0f} s"


def milliseconds(value: float | None) -> str:
    """A latency, or a dash where none was measured."""
    return "-" if value is None else f"{number(value)} ms"


def render(picture: Picture, height: int) -> RenderableType:
    """The live tables, and below them as many of the latest anomalies as `height` lines have room for."""
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
    foresight = foresight_table(picture.tallies)
    room = (height - _LINES - len(picture.rows) - len(picture.tallies)) // _LINES_AN_ANOMALY
    recent = list(picture.recent)[-room:] if room > 0 else []
    return Group(head, stages, facts, foresight, *([anomalies_table(recent)] if recent else []))


def foresight_table(tallies: Mapping[str, ForesightTally]) -> Table:
    """Alerts against the workshops' reports so far, by the component that they name or that failed."""
    table = Table(title="Alerts, and what the workshops reported", title_justify="left")
    for title in ("component", "alerts", "confirmed", "right", "late", "false", "pending", "precision",
                  "failures", "foreseen", "recall", "median lead"):  # fmt: skip
        table.add_column(title, justify="left" if title == "component" else "right")
    for name, tally in tallies.items():
        if name == ALL and len(tallies) > 1:
            table.add_section()
        counts = (tally.alerts, tally.confirmed, tally.right, tally.late, tally.false, tally.pending)
        table.add_row(
            name,
            *map(number, counts),
            share(tally.precision),
            number(tally.failures),
            number(tally.foreseen),
            share(tally.recall),
            seconds(tally.median_lead_s),
        )
    return table


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
    every = picture.tallies[ALL]
    return (
        f"{_clock(picture.elapsed_s)} | {number(picture.cars_connected)} cars | {rates} | "
        f"lag {number(lag)} | model {picture.model_version} | "
        f"p99 {milliseconds(picture.latency.p99_ms)} | {number(picture.anomalies)} anomalies | "
        f"{every.alerts} alerts: {every.confirmed} confirmed, {every.false} false | "
        f"{every.foreseen} of {every.failures} failures foreseen | {number(picture.memory_mib)} MiB"
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


def show_foresight(console: Console, foresight: AlertVerdicts, tallies: Mapping[str, ForesightTally]) -> None:
    """What the deployment knew of itself: alerts and reports, without the truth."""
    console.print(foresight_table(tallies))
    console.print(
        f"confirmed: the car's failure was reported within {foresight.horizon_s:.0f} s after the alert; "
        "right: of these, the component that failed was named; late: told after the failure; pending: its "
        "time is not over. Precision is confirmed over confirmed and false"
        + (f"; {number(foresight.left_out)} alerts more were left out" if foresight.left_out else "")
    )


def show_scorecard(console: Console, card: Scorecard) -> None:
    """The same against the truth, the simulator's plan."""
    table = Table(title="Scorecard: the simulator's faults", title_justify="left")
    columns = ("present", "half_grown", "failed", "foreseen", "found", "hypothesis_right")
    for title in ("fault", *(column.replace("_", " ") for column in columns), "median lead"):
        table.add_column(title, justify="left" if title == "fault" else "right")
    rows = card.rows(lambda fault: fault.kind) | {ALL: card.row(card.faults)}
    for name, row in rows.items():
        if name == ALL:
            table.add_section()
        table.add_row(name, *(str(row[column]) for column in columns), seconds(row["median_lead_s"]))
    console.print(table)
    per_week = card.false_alarms_per_car_week()
    console.print(
        "foreseen: failed, with an alert between onset and failure; found: an alert before the repair; of "
        f"the half grown ones {rows[ALL]['half_grown_found']} were found; {len(card.false_alarms)} alerts on "
        f"cars without a fault, {'-' if per_week is None else f'{per_week:.2g}'} a car-week of driving "
        f"({number(card.healthy_s / 3600)} car-hours: a second of the run shows {card.time_lapse:g} s of it)"
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:d}:{int(seconds) % 60:02d}"
