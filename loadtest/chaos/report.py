"""The results of a chaos run: ledger.json, and the tables at the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from contract.varints import Longs
from loadtest import output
from loadtest.chaos.auditor import Findings, per_window
from loadtest.chaos.follower import STAGES
from loadtest.chaos.settings import Settings
from local.ledger import Log, Published, Stage
from local.screen import clock, number, show_ledger, table

_CLOCK_WRONG_MS = 30 * 60_000  # no fault keeps a record for so long, so its car's clock was wrong


@dataclass
class FaultOutcome:
    """The course of a fault; times are s since 1970, None: it did not happen."""

    fault: str
    at: float
    returned_at: float | None = None  # what it took away was back
    recovered_at: float | None = None  # every stage had caught up
    broken: list[str] = field(default_factory=list)  # promises of the fault that did not hold

    @property
    def away_s(self) -> float | None:
        """From the fault to the return."""
        return None if self.returned_at is None else self.returned_at - self.at

    @property
    def recovery_s(self) -> float | None:
        """From the return to the recovery."""
        if self.recovered_at is None or self.returned_at is None:
            return None
        return self.recovered_at - self.returned_at


@dataclass(frozen=True)
class ChaosResults:
    """All that is known at the end of a run."""

    published: Published
    edge: Log  # n records
    findings: Findings
    arrived: Mapping[str, Longs]  # by stage (n,): when each record arrived, ms since 1970; -1: never
    outcomes: Sequence[FaultOutcome]
    skipped: Mapping[str, str]  # faults that could not be injected, and why
    began_at: float  # s since 1970
    settings: Settings
    counts: Mapping[str, int]  # shown beside the ledger
    incomplete: str  # why the run ended early; empty where it did not

    @property
    def broken(self) -> list[str]:
        """Every guarantee that did not hold, in words."""
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
            "records scored as late that were the newest of their car": scoring.silenced,
        }
        broken = [f"{number(len(mishaps))} {what}" for what, mishaps in counts.items() if len(mishaps)]
        if self.incomplete:
            broken.append(self.incomplete)
        for outcome in self.outcomes:
            broken += [f"{outcome.fault}: {what}" for what in outcome.broken]
            recovery_s, allowed_s = outcome.recovery_s, self.settings.recovered_within_s
            if recovery_s is None:
                broken.append(f"{outcome.fault}: not recovered")
            elif recovery_s > allowed_s:
                broken.append(f"{outcome.fault}: recovered after {recovery_s:.1f} s, {allowed_s:.0f} allowed")
        if not self.outcomes and not self.skipped:
            broken.append("no fault was injected")
        return broken

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
            "stages": [vars(stage) for stage in self.stages],
            **self.left_out,
            **self.counts,
            "seed": self.settings.seed,
            "recovery_s_max": self.settings.recovered_within_s,
            "recovered_when_behind_s_max": self.settings.bound_s,
            "faults": self._faults(),
            "skipped": dict(self.skipped),
            "broken": self.broken,
        }

    @property
    def left_out(self) -> dict[str, int]:
        """Records that are missing by rule, as the services say."""
        findings = self.findings
        return {
            "refused_by_rule": findings.refused,
            "deleted_before_scored": findings.unscored,
            "deleted_before_copied": findings.uncopied,
        }

    @property
    def stages(self) -> list[Stage]:
        """The ledger by stage; the cloud is compared with edge Kafka, row by row."""
        findings, rows = self.findings, len(self.edge.record)
        sent = int(self.published.sent.sum()) - findings.refused
        at_edge = sent - len(findings.lost_before_edge)
        to_score, to_copy = sent - findings.unscored, rows - findings.uncopied
        scored = at_edge - findings.unscored - len(findings.scoring.never)
        copied = to_copy - len(findings.lost_before_cloud)
        return [
            Stage("edge_kafka", sent, at_edge, len(findings.duplicates), sent - at_edge),
            Stage("scored", to_score, scored, len(findings.scoring.twice), to_score - scored),
            Stage("cloud_kafka", to_copy, copied, len(findings.doubled_in_cloud), to_copy - copied),
        ]

    def _faults(self) -> list[dict[str, Any]]:
        """A row for each fault; its window begins `bound_s` before it, because of messages in flight."""
        findings = self.findings
        begins = np.array(
            [1000 * (outcome.at - self.settings.bound_s) for outcome in self.outcomes], np.int64
        )
        counted = {
            "lost": per_window(findings.lost, begins),
            "duplicates": per_window(findings.duplicates, begins),
            "order_violations": per_window(findings.order_violations, begins),
            "scored_twice": per_window(findings.scoring.twice, begins),
        }
        window = np.searchsorted(begins, self.edge.written_at, "right") - 1
        rows = []
        for index, outcome in enumerate(self.outcomes):
            worst = self._worst_ms((window == index) & (self.edge.record >= 0))
            rows.append(
                {
                    "fault": outcome.fault,
                    "at_s": round(outcome.at - self.began_at, 1),
                    "away_s": _rounded(outcome.away_s),
                    "recovery_s": _rounded(outcome.recovery_s),
                    **{what: int(counts[index]) for what, counts in counted.items()},
                    "worst_latency_ms": max(worst.values(), default=None),
                    "worst_latency_ms_by_stage": worst,
                }
            )
        return rows

    def _worst_ms(self, rows: Any) -> dict[str, int]:
        """By stage, the longest time from sample to arrival of these rows (n,) of edge Kafka's log."""
        worst = {}
        clock_right = np.abs(self.edge.written_at - self.edge.sampled_at) < _CLOCK_WRONG_MS
        for stage in STAGES:
            arrived = rows & (self.arrived[stage] >= 0) & clock_right
            if arrived.any():
                worst[stage] = int((self.arrived[stage] - self.edge.sampled_at)[arrived].max())
        return worst


def show(results: ChaosResults, console: Console) -> None:
    """Print the faults, the ledger and the verdict."""
    faults = table("Faults", "fault", "at", "away s", "recovery s", "lost", "duplicates", "order",
                         "twice", "worst ms to edge", "to score", "to cloud")  # fmt: skip
    for row in results.as_dict()["faults"]:
        worst, recovery_s = row["worst_latency_ms_by_stage"], row["recovery_s"]
        late = recovery_s is None or recovery_s > results.settings.recovered_within_s
        faults.add_row(
            row["fault"], clock(row["at_s"]), output.shown(row["away_s"]),
            Text(output.shown(recovery_s), style="bold red" if late else "green"),
            _must_be_0(row["lost"]), number(row["duplicates"]),
            _must_be_0(row["order_violations"]), _must_be_0(row["scored_twice"]),
            *(number(worst[stage]) if stage in worst else "-" for stage in STAGES),
        )  # fmt: skip
    console.print(faults)
    for fault, why in results.skipped.items():
        console.print(f"[bold yellow]SKIPPED {fault}: {why}[/]")
    show_ledger(console, results.stages)
    counts = {**results.left_out, **results.counts}
    console.print(", ".join(f"{what.replace('_', ' ')} {number(n)}" for what, n in counts.items()))
    for what in results.broken:
        console.print(f"[bold red]BROKEN: {what}[/]")
    if not results.broken:
        console.print("[green]every guarantee held[/]")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _must_be_0(count: int) -> Text:
    return Text(number(count), style="bold red" if count else "green")
