"""Progress of the seeds: live lines on a terminal, a line every ten seconds in a log."""

import time
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from quality.crew import Member
from quality.settings import Settings

_LOG_EVERY_S = 10.0


class Line:
    """Shows the progress; use it as a context manager around the run."""

    def __init__(self, console: Console, settings: Settings) -> None:
        self._console, self._seeds = console, settings.seeds
        self._live = (
            Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        )
        self._started = time.monotonic()
        self._shown_at = float("-inf")

    def __enter__(self) -> "Line":
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._live is not None:
            self._live.__exit__(*error)

    def show(self, members: list[Member]) -> None:
        """Show the members' progress; called several times a second."""
        now = time.monotonic()
        done = sum(member.outcome is not None for member in members)
        lines = [f"{now - self._started:4.0f} s: {done} of {self._seeds} seeds done"]
        lines += [
            f"seed {member.seed}: {member.doing}, {member.share:.0%}, {now - member.started:.0f} s"
            for member in members
            if member.outcome is None
        ]
        if self._live is not None:
            self._live.update(Group(*[Text(line) for line in lines]))
        elif now - self._shown_at >= _LOG_EVERY_S:
            self._console.print(" | ".join(lines))
            self._shown_at = now
