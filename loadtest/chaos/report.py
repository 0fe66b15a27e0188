"""What a chaos run shows: the faults as they go by, at the end the table and ledger.json."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from contract.varints import Longs
from loadtest.chaos.auditor import Findings, per_window
from loadtest.chaos.tail import STAGES
from local.ledger import Log, Published, Stage
from local.screen import number, show_ledger


@dataclass
class Outcome:
    """What became of a fault; times are s since 1970, None: it never was."""

    fault: str
    at: float
    returned_at: float | None = None
    recovered_at: float | None = None
    broken: list[str] = field(default_factory=list)

    @property
    def away_s(self) -> float | None:
        """From the fault to the component's return."""
        return None if self.returned_at is None else self.returned_at - self.at

    @property
    def recovery_s(self) -> float | None:
        """From the component's return until every stage has caught up."""
        if self.recovered_at is None or self.returned_at is None:
            return None
        return self.recovered_at - self.returned_at


@dataclass(frozen=True)
class Book:
    """All that is known at the end. `arrived`: by stage when each row of `edge` was there, ms; else -1."""

    published: Published
    edge: Log
    findings: Findings
    arrived: Mapping[str, Longs]
    outcomes: Sequence[Outcome]
    skipped: Mapping[str, str]
    began_at: float
    bound_s: float
    recovery_s_max: float
    beside: Mapping[str, int]  # counted beside the ledger
    incomplete: str  # why the run ended early; empty where it did not

    @property
    def broken(self) -> list[str]:
        """Every guarantee that did not hold, in words; empty is good."""
        scoring, findings = self.findings.scoring, self.findings
        counts = {
            "records lost before edge Kafka": findings.lost_before_edge,
            "records not scored": scoring.never,
            "records missing in the cloud": findings.lost_before_cloud,
            "records doubled in the cloud": findings.doubled_in_cloud,
            "records behind a newer one of their car": findings.order_violations,
            "records scored twice": scoring.twice,
            "offsets without audit": scoring.unaudited,
            "audit records that do not fit the log": scoring.misjudged,
            "records that no car sent": findings.strangers,
        }
        found = [f"{number(len(mishaps))} {what}" for what, mishaps in counts.items() if len(mishaps)]
        if self.incomplete:
            found.append(self.incomplete)
        for outcome in self.outcomes:
            found += [f"{outcome.fault}: {what}" for what in outcome.broken]
            recovery_s = outcome.recovery_s
            if recovery_s is None:
                found.append(f"{outcome.fault}: not recovered")
            elif recovery_s > self.recovery_s_max:
                found.append(
                    f"{outcome.fault}: recovered after {recovery_s:.1f} s, {self.recovery_s_max:.0f} allowed"
                )
        if not self.outcomes and not self.skipped:
            found.append("no fault was injected")
        return found

    def as_dict(self) -> dict[str, Any]:
        """The content of ledger.json."""
        findings = self.findings
        return {
            "lost": len(findings.lost),
            "order_violations": len(findings.order_violations),
            "scored_twice": len(findings.scoring.twice),
            "duplicates": len(findings.duplicates),
            "messages": int(self.published.sent.sum()),
            "seconds": round(float(self.edge.written_at.max(initial=0)) / 1000 - self.began_at, 1),
            "cloud": {
                "missing": len(findings.lost_before_cloud),
                "doubled": len(findings.doubled_in_cloud),
            },
            "stages": [stage.as_dict() for stage in self.stages],
            **self.beside,
            "recovery_s_max": self.recovery_s_max,
            "recovered_when_behind_s_max": self.bound_s,
            "faults": self._faults(),
            "skipped": dict(self.skipped),
            "broken": self.broken,
        }

    @property
    def stages(self) -> list[Stage]:
        """For the table of the ledger; the cloud against edge Kafka, row by row."""
        findings, sent = self.findings, int(self.published.sent.sum())
        lost_edge, rows = len(findings.lost_before_edge), len(self.edge.record)
        scored, copied = (
            sent - lost_edge - len(findings.scoring.never),
            rows - len(findings.lost_before_cloud),
        )
        return [
            Stage("edge_kafka", sent, sent - lost_edge, len(findings.duplicates), lost_edge),
            Stage("scored", sent, scored, len(findings.scoring.twice), sent - scored),
            Stage("cloud_kafka", rows, copied, len(findings.doubled_in_cloud), rows - copied),
        ]

    def _faults(self) -> list[dict[str, Any]]:
        """A fault's window begins where what was in flight was sampled, and ends where the next begins."""
        findings = self.findings
        begins = np.array([1000 * (outcome.at - self.bound_s) for outcome in self.outcomes], np.int64)
        counted = {
            "lost": per_window(findings.lost, begins),
            "duplicates": per_window(findings.duplicates, begins),
            "order_violations": per_window(findings.order_violations, begins),
            "scored_twice": per_window(findings.scoring.twice, begins),
        }
        return [
            {
                "fault": outcome.fault,
                "at_s": round(outcome.at - self.began_at, 1),
                "away_s": _rounded(outcome.away_s),
                "recovery_s": _rounded(outcome.recovery_s),
                **{what: int(counts[place]) for what, counts in counted.items()},
                "worst_latency_ms": max(worst.values(), default=None),
                "worst_latency_ms_by_stage": worst,
            }
            for place, outcome in enumerate(self.outcomes)
            for worst in [self._worst_ms(begins, place)]
        ]

    def _worst_ms(self, begins: Longs, place: int) -> dict[str, int]:
        """By stage, of the records written to edge Kafka in the window: from sample to arrival there."""
        log = self.edge
        inside = (np.searchsorted(begins, log.written_at, "right") - 1 == place) & (log.record >= 0)
        worst = {}
        for stage in STAGES:
            known = inside & (self.arrived[stage] >= 0)
            if known.any():
                worst[stage] = int((self.arrived[stage] - log.sampled_at)[known].max())
        return worst


def show(book: Book, console: Console) -> None:
    """The tables."""
    table = Table(title="Faults", title_justify="left")
    head = ("fault", "at", "away s", "recovery s", "lost", "duplicates", "order", "twice",
            "worst ms to edge", "to score", "to cloud")  # fmt: skip
    for title in head:
        table.add_column(title, justify="left" if title == "fault" else "right")
    for row in book.as_dict()["faults"]:
        worst = row["worst_latency_ms_by_stage"]
        recovery_s = row["recovery_s"]
        late = recovery_s is None or recovery_s > book.recovery_s_max
        table.add_row(
            row["fault"], _clock(row["at_s"]), _shown(row["away_s"]),
            Text(_shown(recovery_s), style="bold red" if late else "green"),
            *(_count(row[what]) for what in ("lost",)), number(row["duplicates"]),
            *(_count(row[what]) for what in ("order_violations", "scored_twice")),
            *(number(worst[stage]) if stage in worst else "-" for stage in STAGES),
        )  # fmt: skip
    console.print(table)
    for fault, why in book.skipped.items():
        console.print(f"[bold yellow]SKIPPED {fault}: {why}[/]")
    show_ledger(console, book.stages)
    console.print(", ".join(f"{what.replace('_', ' ')} {number(n)}" for what, n in book.beside.items()))
    for what in book.broken:
        console.print(f"[bold red]BROKEN: {what}[/]")
    if not book.broken:
        console.print("[green]every guarantee held[/]")


@dataclass
class Progress:
    """What is shown while the run goes on."""

    messages: int
    messages_wanted: int
    faults: int
    began_at: float
    behind_s: tuple[float, float, float]
    outcomes: Sequence[Outcome]
    doing: str

    def line(self) -> str:
        """For a log."""
        behind = ", ".join(
            f"{stage} {min(s, 9999):.1f} s" for stage, s in zip(STAGES, self.behind_s, strict=True)
        )
        return (
            f"{_clock(time.time() - self.began_at)} | {number(self.messages)} of "
            f"{number(self.messages_wanted)} messages | behind: {behind} | "
            f"fault {len(self.outcomes)} of {self.faults}: {self.doing}"
        )

    def render(self) -> RenderableType:
        """For a terminal."""
        table = Table()
        for title in ("fault", "at", "away s", "recovery s"):
            table.add_column(title)
        for outcome in self.outcomes:
            at = _clock(outcome.at - self.began_at)
            table.add_row(outcome.fault, at, _shown(outcome.away_s), _shown(outcome.recovery_s))
        return Group(Text(self.line()), table)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _shown(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f}"


def _count(count: int) -> Text:
    return Text(number(count), style="bold red" if count else "green")


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:d}:{int(seconds) % 60:02d}"
