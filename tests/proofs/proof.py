"""What a proof is, and what comes of it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One figure of a proof beside its bar."""

    promise: str  # what is promised, as a reader of the README would say it
    figure: str
    bar: str
    met: bool


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    status: int | None  # exit status; None: ended by the time limit
    seconds: float
    root: Path  # the repository it ran in
    log: str  # what it printed

    @property
    def last_line(self) -> str:
        """The last line that says something."""
        return next((line.strip() for line in reversed(self.log.splitlines()) if line.strip()), "")


@dataclass(frozen=True)
class Proof:
    """A command and how its promises are read from what it leaves behind."""

    name: str  # for ONLY=
    command: str  # as the README has it
    argv: Sequence[str]
    minutes_max: float  # after this time the command is ended
    findings: Callable[[Ended], list[Finding]]
    results: Sequence[str] = ()  # files that the command writes; removed before it starts


@dataclass(frozen=True)
class Row:
    """One line of the table, and one object of var/proofs.json."""

    name: str
    promise: str
    command: str
    met: bool
    figure: str
    bar: str
    seconds: float  # of the whole command
    commit: str
    date: str
    machine: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """For the JSON file."""
        return asdict(self)


# What a reader of figures raises where a file is missing, is no JSON, or lacks a figure.
_UNREADABLE = (OSError, ValueError, KeyError, IndexError, TypeError)


def judge(proof: Proof, ended: Ended) -> list[Finding]:
    """The findings of a proof whose command has ended, with at least one that is not met where it failed."""
    if ended.status is None:
        return [Finding("ends in time", "no", f"{proof.minutes_max:g} min", met=False)]
    try:
        findings = proof.findings(ended)
    except _UNREADABLE as error:
        findings = [Finding("its figures", f"cannot be read: {error!r}", "are there", met=False)]
    if ended.status != 0 and all(finding.met for finding in findings):
        figure = f"{ended.status}: {ended.last_line[:100]}"
        findings = [*findings, Finding("exit status", figure, "0", met=False)]
    return findings
