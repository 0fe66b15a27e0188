"""var/proofs.json: what has been proved, on which commit; shown as a table on a terminal and in the docs."""

import json
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from tests.proofs import machine
from tests.proofs.proof import Row

BEGIN, END = "<!-- proofs -->", "<!-- /proofs -->"


def commit(root: Path) -> str:
    """The short hash of the last commit, with `+` where tracked files differ from it."""
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return _git(root, "rev-parse", "--short", "HEAD") + ("+" if changed else "")


def read(path: Path) -> list[Row]:
    """All rows; none where there is no file yet."""
    if not path.exists():
        return []
    return [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def write(path: Path, rows: Iterable[Row]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    text = json.dumps([row.as_dict() for row in rows], indent=1, ensure_ascii=False)
    draft.write_text(text + "\n", encoding="utf-8")
    draft.rename(path)


def replaced(rows: Sequence[Row], new: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """The rows with those of the same proof replaced, in the order of `names`; other names are dropped."""
    proved = {row.name for row in new}
    kept = [row for row in rows if row.name not in proved] + list(new)
    return [row for name in names for row in kept if row.name == name]


def is_met(rows: Sequence[Row], name: str, commit: str) -> bool:
    """Whether every promise of a proof was met on this very commit."""
    own = [row for row in rows if row.name == name]
    return bool(own) and all(row.met and row.commit == commit for row in own)


def table(rows: Sequence[Row]) -> Table:
    """For a terminal."""
    result = Table(title="Proofs", title_justify="left")
    for title in ("proof", "promise", "figure", "bar", "", "commit"):
        result.add_column(title)
    for row in rows:
        verdict = Text("met", style="green") if row.met else Text("NOT MET", style="bold red")
        result.add_row(row.name, row.promise, row.figure, row.bar, verdict, row.commit)
    return result


def markdown(rows: Sequence[Row]) -> str:
    """For docs/measurements.md: the table, and below it the machines."""
    lines = ["| command | promise | figure | bar | met | commit |", "|---|---|---|---|---|---|"]
    lines += [
        f"| `{row.command}` | {_cell(row.promise)} | {_cell(row.figure)} | {_cell(row.bar)} | "
        f"{'yes' if row.met else '**no**'} | {row.commit} |"
        for row in rows
    ]
    machines = dict.fromkeys((row.date, machine.in_words(row.machine)) for row in rows)
    return "\n".join([*lines, "", *(f"{date}: {words}." for date, words in machines)])


def rendered(text: str, rows: Sequence[Row]) -> str:
    """A document with the table between its markers. Raises ValueError where it has none."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{markdown(rows)}\n{END}{after}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()
