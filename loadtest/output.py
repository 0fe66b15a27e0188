"""Progress, bars and JSON files, written the same way by every command."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from local.screen import number

_LIVE_EVERY_S, _PRINT_EVERY_S = 0.5, 5.0


@dataclass(frozen=True)
class Bar:
    """A limit that a figure must reach."""

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


class ProgressLine:
    """A line of progress: replaced in place on a terminal, elsewhere printed every few seconds.

    A context manager; outside of the context it is printed as if there were no terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console, self._live = console, Live(console=console, auto_refresh=False, transient=True)
        self._shown_at = 0.0

    def __enter__(self) -> None:
        if self._console.is_terminal:
            self._live.start()

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, line: Callable[[], str]) -> None:
        """Show the line that `line` makes, unless the last one was shown a moment ago."""
        live, now = self._live.is_started, time.monotonic()
        if now - self._shown_at >= (_LIVE_EVERY_S if live else _PRINT_EVERY_S):
            self._shown_at = now
            if live:
                self._live.update(line(), refresh=True)
            else:
                self._console.print(line(), soft_wrap=True)


def console(width: int) -> Console:
    """A console on standard output, `width` columns wide where that is not a terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else width)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write indented JSON; makes the folder where it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
