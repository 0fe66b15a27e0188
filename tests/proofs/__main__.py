"""python -m tests.proofs: every promise of the README, run and measured; goes on where it was interrupted.

A proof that was met on this very commit is not run again, unless --force says so. Logs are in var/proofs/,
rows in var/proofs.json. Exit status 0 where all chosen proofs are met, 1 where not, 130 after Ctrl-C.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from plumbing import life, settings
from plumbing.settings import SettingsError, setting
from tests.proofs import command, record
from tests.proofs.machine import machine
from tests.proofs.promises import PROOFS
from tests.proofs.proof import Proof, Row, judge

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "var/proofs.json"
_LINE_EVERY_S = 60.0


@dataclass(frozen=True)
class Settings:
    """Flags, environment (PROOFS_…) or these defaults."""

    only: tuple[str, ...] = setting("which proofs; none: all", default=())
    force: bool = setting("run also what was met on this commit", default=False)
    list: bool = setting("print the proofs and end", default=False)
    render: bool = setting("write the table into docs/measurements.md and end", default=False)

    def __post_init__(self) -> None:
        names = [proof.name for proof in PROOFS]
        if unknown := [name for name in self.only if name not in names]:
            raise SettingsError(f"--only {', '.join(unknown)}: none of {', '.join(names)}")


def main() -> None:
    """Entry point."""
    life.main(_run)


def _run() -> int:
    chosen = settings.load(
        Settings, prefix="PROOFS", argv=sys.argv[1:], description=__doc__, command="python -m tests.proofs"
    )
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    if chosen.list:
        for proof in PROOFS:
            console.print(f"{proof.name:<10} {proof.command}, at most {proof.minutes_max:g} min")
        return 0
    if chosen.render:
        document = ROOT / "docs/measurements.md"
        text = record.rendered(document.read_text(encoding="utf-8"), record.read(RECORD))
        document.write_text(text, encoding="utf-8")
        return 0
    proofs = [proof for proof in PROOFS if not chosen.only or proof.name in chosen.only]
    return prove(proofs, RECORD, console, life.Stop().install(), force=chosen.force)


def prove(
    proofs: list[Proof],
    path: Path,
    console: Console,
    stop: life.Stop,
    *,
    force: bool = False,
    root: Path = ROOT,
) -> int:
    """Run the proofs that are not met yet, record each as it ends, and show the table; the exit status."""
    command.adopt_orphans()
    here = machine()
    names = list(dict.fromkeys([*(proof.name for proof in PROOFS), *(proof.name for proof in proofs)]))
    for number, proof in enumerate(proofs, 1):
        rows, commit = record.read(path), record.commit(root)
        if not force and not commit.endswith("+") and record.is_met(rows, proof.name, commit):
            console.print(f"{proof.name}: met on {commit} already")
            continue
        for result in proof.results:
            (root / result).unlink(missing_ok=True)
        log = path.parent / "proofs" / f"{proof.name}.log"
        console.print(f"{proof.name}: {proof.command} (log: {log})", soft_wrap=True)
        show = _progress(f"[{number}/{len(proofs)}] {proof.name}", proof.minutes_max, console)
        try:
            ended = command.run(
                proof.argv, root=root, log=log, minutes_max=proof.minutes_max, stop=stop, show=show
            )
        except command.Interrupted:
            console.print(f"interrupted in {proof.name}; the same command goes on there")
            return 130
        finally:
            _clear_line(console)
        new = [
            Row(
                name=proof.name, promise=finding.promise, command=proof.command, met=finding.met,
                figure=finding.figure, bar=finding.bar, seconds=round(ended.seconds, 1), commit=commit,
                date=time.strftime("%Y-%m-%d"), machine=here,
            )
            for finding in judge(proof, ended)
        ]  # fmt: skip
        record.write(path, record.replaced(rows, new, names))
        verdict = "met" if all(row.met for row in new) else "[bold red]NOT MET[/]"
        console.print(f"{proof.name}: {verdict} after {_clock(ended.seconds)}")
        for row in new:
            if not row.met:
                console.print(f"  {row.promise}: {row.figure}, bar {row.bar}", markup=False)
    commit = record.commit(root)
    rows = [row for row in record.read(path) if row.name in {proof.name for proof in proofs}]
    console.print(record.table(rows))
    console.print(f"written to {path}; `python -m tests.proofs --render` puts it into docs/measurements.md")
    return 0 if all(record.is_met(rows, proof.name, commit) for proof in proofs) else 1


def _progress(title: str, minutes_max: float, console: Console) -> Callable[[float, str], None]:
    """A line that moves on a terminal, one a minute elsewhere."""
    line_at = 0.0

    def show(seconds: float, last_line: str) -> None:
        nonlocal line_at
        line = f"{title}  {_clock(seconds)} of at most {_clock(60 * minutes_max)}  {last_line}"
        if console.is_terminal:
            sys.stdout.write(f"\r\033[K{line[: console.width - 1]}")
            sys.stdout.flush()
        elif seconds >= line_at:
            line_at = seconds + _LINE_EVERY_S
            console.print(line[: console.width], markup=False)

    return show


def _clear_line(console: Console) -> None:
    if console.is_terminal:
        sys.stdout.write("\r\033[K")


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:d}:{int(seconds) % 60:02d}"


if __name__ == "__main__":
    main()
