"""What a person sees of the demo: one live table; at the end the ledger and the scorecard."""

import io
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from contract.foresight import ALL, AlertVerdicts, ForesightTally
from local.ledger import Stage
from local.scorecard import Scorecard
from local.watch import Latency

# A narrower terminal, as a fresh one of 80 by 24 is, gets fewer columns and no frames.
WIDE_COLUMNS = 120
# Lines beside the rows of stages, components and anomalies, which are one line each, with frames two.
_LINES, _LINES_AN_ANOMALY = 18, 2
_NARROW_LINES, _NARROW_LINES_AN_ANOMALY = 8, 1


@dataclass(frozen=True)
class Row:
    """One stage of the picture as it runs."""

    stage: str
    per_s: float  # messages a second
    total: int  # messages
    waiting: int  # messages
    by: str  # the processes that do the work, each with a mark of its state


@dataclass(frozen=True)
class Picture:
    """Everything that the live table shows."""

    elapsed_s: float
    duration_s: float
    cars_connected: int
    cars: int
    rows: Sequence[Row]
    model_version: int  # that all scorers use; 0: none
    trainer: str  # what the trainer does, in words
    watcher: str  # what the watcher sees and does, in words; empty: there is none
    open_alerts: int
    latency: Latency
    tallies: Mapping[str, ForesightTally]
    time_lapse: float  # seconds of driving in a second of the run
    anomalies: int
    recent: Sequence[dict[str, Any]]  # anomaly records, the latest last
    memory_mib: float
    restarts: int


def number(value: float) -> str:
    """A whole number with gaps between thousands: 12 345."""
    return f"{value:,.0f}".replace(",", " ")


def share(value: float | None) -> str:
    """A share in percent; a dash for None."""
    return "-" if value is None else f"{value:.0%}"


def driving(seconds: float | None, time_lapse: float) -> str:
    """A time of the run in hours of driving, below one in minutes; a dash for None."""
    if seconds is None:
        return "-"
    hours = seconds * time_lapse / 3600
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def milliseconds(value: float | None) -> str:
    """A latency; a dash for None."""
    return "-" if value is None else f"{number(value)} ms"


def render(picture: Picture, width: int, height: int) -> RenderableType:
    """The live tables, and below them as many of the latest anomalies as there is room for."""
    narrow = width < WIDE_COLUMNS
    head = Text.assemble(
        ("Connected cars ", "bold"),
        f"{clock(picture.elapsed_s)} of {clock(picture.duration_s)} · ",
        f"{number(picture.cars_connected)} of {number(picture.cars)} cars · ",
        f"{number(picture.memory_mib)} MiB · {picture.restarts} restarts",
    )
    stages = table("", "stage", "messages/s", "total", "waiting", "by", narrow=narrow, left=("by",))
    for row in picture.rows:
        stages.add_row(row.stage, number(row.per_s), number(row.total), number(row.waiting), row.by)
    title = "" if narrow else "Alerts, and what the workshops reported"
    foresight = foresight_table(picture.tallies, picture.time_lapse, title, narrow=narrow)
    lines, per_anomaly = (_NARROW_LINES, _NARROW_LINES_AN_ANOMALY) if narrow else (_LINES, _LINES_AN_ANOMALY)
    room = (height - lines - len(picture.rows) - len(picture.tallies)) // per_anomaly
    recent = list(picture.recent)[-room:] if room > 0 else []
    tables = [anomalies_table(recent, narrow=narrow)] if recent else []
    return Group(head, stages, _facts(picture), foresight, *tables)


def as_svg(picture: Picture, width: int = 80, height: int = 27) -> str:
    """The live table as a terminal of this size shows it."""
    console = Console(record=True, file=io.StringIO(), width=width, force_terminal=True, highlight=False)
    console.print(render(picture, width, height))
    svg = console.export_svg(title="make demo", unique_id="demo")
    # Without rich's web fonts: a browser that shows the file as an image does not load them.
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def _facts(picture: Picture) -> Text:
    """Model, trainer and latency; while there is no model, what is done about it."""
    if picture.model_version:
        doing = f"watcher: {picture.watcher}" if picture.watcher else f"trainer: {picture.trainer}"
        model = f"model: version {picture.model_version} in use · {doing}"
    else:
        model = f"no model yet, nothing is scored; the first is being learned: {picture.trainer}"
    latency = picture.latency
    return Text(
        f"{model}\ncar to anomaly: p50 {milliseconds(latency.p50_ms)}, p99 {milliseconds(latency.p99_ms)} · "
        f"{number(picture.anomalies)} anomalies · {number(picture.open_alerts)} alerts open"
    )


def table(title: str, *heads: str, left: Sequence[str] = (), narrow: bool = False) -> Table:
    """An empty table; a narrow one has no frame. The first column and those in `left` begin at the left."""
    result = Table(
        title=title or None,
        title_justify="left",
        box=None if narrow else box.HEAVY_HEAD,
        padding=(0, 1, 0, 0) if narrow else (0, 1),
        pad_edge=not narrow,
    )
    for head in heads:
        result.add_column(head, justify="left" if head in (heads[0], *left) else "right", no_wrap=narrow)
    return result


def foresight_table(
    tallies: Mapping[str, ForesightTally], time_lapse: float, title: str, *, narrow: bool
) -> Table:
    """Alerts against the workshops' reports, by the component that they name or that failed."""
    heads = ["alerts", "confirmed", "right", "late", "false", "pending", "precision", "failures", "foreseen",
             "recall", "lead"]  # fmt: skip
    if narrow:
        heads = [head for head in heads if head not in ("late", "pending", "precision")]
    result = table(title, "component", *heads, narrow=narrow)
    for name, tally in tallies.items():
        if name == ALL and len(tallies) > 1 and not narrow:
            result.add_section()
        shares = {"precision": share(tally.precision), "recall": share(tally.recall)}
        cells = shares | {"lead": driving(tally.median_lead_s, time_lapse)}
        result.add_row(name, *(cells.get(head) or number(getattr(tally, head)) for head in heads))
    return result


def anomalies_table(recent: Sequence[dict[str, Any]], *, narrow: bool) -> Table:
    """The latest anomalies with the signals that made them; a narrow one has the first signal only."""
    heads = ("sampled", "car", "score", "signals") if narrow else (
        "sampled", "car", "seq", "score", "threshold", "model", "signals")  # fmt: skip
    result = table("" if narrow else "latest anomalies", *heads, narrow=narrow, left=heads)
    for anomaly in reversed(recent):
        signals = [f"{s['name']} {s['value']:.4g} ({s['share']:.0%})" for s in anomaly["signals"]]
        cells = {
            "sampled": time.strftime("%H:%M:%S", time.localtime(anomaly["sampled_at"] / 1000)),
            "car": anomaly["car_id"],
            "seq": str(anomaly["seq"]),
            "score": f"{anomaly['score']:.2f}",
            "threshold": f"{anomaly['threshold']:.2f}",
            "model": str(anomaly["model_version"]),
            "signals": ", ".join(signals[:1] if narrow else signals),
        }
        result.add_row(*(cells[head] for head in heads))
    return result


def line(picture: Picture) -> str:
    """One line for a log."""
    rates = ", ".join(f"{row.stage} {number(row.per_s)}/s" for row in picture.rows)
    lag = max((row.waiting for row in picture.rows), default=0)
    every = picture.tallies[ALL]
    model = f"model {picture.model_version}" if picture.model_version else f"no model yet: {picture.trainer}"
    return (
        f"{clock(picture.elapsed_s)} | {number(picture.cars_connected)} cars | {rates} | "
        f"lag {number(lag)} | {model} | "
        f"p99 {milliseconds(picture.latency.p99_ms)} | {number(picture.anomalies)} anomalies | "
        f"{every.alerts} alerts: {every.confirmed} confirmed, {every.false} false, "
        f"{picture.open_alerts} open | "
        f"{every.foreseen} of {every.failures} failures foreseen | {number(picture.memory_mib)} MiB"
    )


def show_ledger(console: Console, stages: Sequence[Stage]) -> None:
    """Print the ledger."""
    heads = ("stage", "expected", "distinct", "duplicates", "lost")
    ledger = table("Ledger: records by (car_id, seq)", *heads, narrow=console.width < WIDE_COLUMNS)
    for stage in stages:
        lost = Text(number(stage.lost), style="bold red" if stage.lost else "green")
        counts = (number(stage.expected), number(stage.distinct), number(stage.duplicates))
        ledger.add_row(stage.stage, *counts, lost)
    console.print(ledger)


def show_foresight(
    console: Console, verdicts: AlertVerdicts, tallies: Mapping[str, ForesightTally], time_lapse: float
) -> None:
    """Print what the deployment knows of itself: alerts and reports, without the truth."""
    title = "Alerts, and what the workshops reported"
    console.print(foresight_table(tallies, time_lapse, title, narrow=console.width < WIDE_COLUMNS))
    console.print(
        f"confirmed: a failure was reported within {driving(verdicts.horizon_s, time_lapse)} of driving "
        "after the alert; right: the component that failed was named; late: raised after the failure; "
        "pending: its time is not over; precision: confirmed over confirmed and false; lead: from the alert "
        "to the failure, median"
        + (f"; {number(verdicts.left_out)} alerts more were left out" if verdicts.left_out else "")
    )


def show_scorecard(console: Console, card: Scorecard) -> None:
    """Print the alerts against the truth, the simulator's plan."""
    columns = ("present", "half_grown", "failed", "foreseen", "found", "hypothesis_right")
    heads = ("present", "half grown", "failed", "foreseen", "found", "right", "lead")
    title = "Scorecard: the simulator's faults"
    faults = table(title, "fault", *heads, narrow=console.width < WIDE_COLUMNS)
    rows = card.rows(lambda fault: fault.kind) | {ALL: card.row(card.faults)}
    for name, row in rows.items():
        if name == ALL:
            faults.add_section()
        lead = driving(row["median_lead_s"], card.time_lapse)
        faults.add_row(name, *(str(row[column]) for column in columns), lead)
    console.print(faults)
    per_week = card.false_alarms_per_car_week()
    console.print(
        "foreseen: failed, with an alert between onset and failure; found: an alert before the repair; "
        "right: it named the component; of the half grown faults "
        f"{rows[ALL]['half_grown_found']} were found; {len(card.false_alarms)} alerts on cars without a "
        f"fault, {'-' if per_week is None else f'{per_week:.2g}'} a car-week of driving "
        f"({number(card.healthy_s / 3600)} car-hours: a second of the run shows {card.time_lapse:g} s of it)"
    )


def clock(seconds: float) -> str:
    """Minutes and seconds: 2:05."""
    return f"{int(seconds) // 60:d}:{int(seconds) % 60:02d}"
