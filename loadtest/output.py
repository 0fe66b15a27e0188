"""Consoles, tables, bars and JSON files, written the same way by every command."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from local.screen import number


@dataclass(frozen=True)
class Bar:
    """What a figure must reach."""

    limit: float
    at_least: bool = False  # False: the figure must be at most the limit

    def met(self, figure: float | None) -> bool:
        """Whether `figure` reaches the limit; neither NaN nor None (not measured) does."""
        if figure is None:
            return False
        return figure >= self.limit if self.at_least else figure <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {shown(self.limit)}"


def shown(value: float | None) -> str:
    """Three significant digits below 1 000, whole numbers with gaps between thousands from there on."""
    if value is None:
        return "-"
    return number(value) if abs(value) >= 1_000 else f"{value:.3g}"


def console(width: int) -> Console:
    """A console on standard output, `width` columns wide where that is not a terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else width)


def table(title: str, *columns: str, left: tuple[str, ...] = ()) -> Table:
    """An empty table; the first column and those in `left` are left-aligned, the others right-aligned."""
    result = Table(title=title, title_justify="left")
    for column in columns:
        result.add_column(column, justify="left" if column in (columns[0], *left) else "right")
    return result


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write indented JSON; makes the folder where it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
