"""`make quality`: which failures each detector foresees, how long before, at how many false alarms.

Simulates fleets without MQTT at full speed, lets every detector learn from the same healthy cars, sets its
threshold on other healthy cars for 0.1 and 1 false alarms per car-week, and asks it about test cars that it
never saw. Writes scorecard.json and plots into --run-dir. Exit status 0, with --check 1 where a goal is not
reached.
"""

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from plumbing import life, log
from plumbing.settings import load
from quality import goals, plots, progress, samples, scorecard, table
from quality.crew import Crew, Interrupted
from quality.seed import Outcome
from quality.settings import Settings

_DISK_SPARE_BYTES = 1 << 30


def main() -> None:
    """Entry point."""
    life.main(_run)


def _run() -> int:
    told = load(Settings, prefix="QUALITY", argv=sys.argv[1:], environ=os.environ, description=__doc__ or "")
    log.configure("quality", "text")
    stop = life.Stop().install()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    started = time.monotonic()
    try:
        with _alone(told.run_dir):
            outcomes = _outcomes(told, stop, console)
    except Interrupted:
        console.print("interrupted: nothing is written")
        return 130
    card = scorecard.drawn_up(told, outcomes, sys.argv[1:])
    scorecard.write(card, told.run_dir)
    plots.draw(outcomes, card, told.run_dir)
    table.show(console, card)
    reached = goals.show(console, card)
    console.print(f"{told.run_dir}/scorecard.json and plots, after {time.monotonic() - started:.0f} s")
    return 0 if reached or not told.check else 1


def _outcomes(told: Settings, stop: life.Stop, console: Console) -> list[Outcome]:
    """Of all seeds; the samples are gone afterwards unless they are to be kept."""
    data, fingerprint = told.run_dir / "data", samples.fingerprint(told.fleet)
    samples.clear(data, but=fingerprint if told.keep_data else None)
    _check_disk(told)
    try:
        with Crew(told, data / fingerprint, stop) as crew, progress.Line(console, told) as line:
            return crew.run(line.show)
    finally:
        if not told.keep_data:
            shutil.rmtree(data, ignore_errors=True)


@contextmanager
def _alone(run_dir: Path) -> Iterator[None]:
    """Raises WorldDown where another run uses the folder."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise life.WorldDown(
                f"another scorecard is being made in {run_dir}: give another --run-dir"
            ) from None
        yield


def _check_disk(told: Settings) -> None:
    """Raises WorldDown where the samples would not fit."""
    needed = told.disk_bytes + _DISK_SPARE_BYTES
    free = shutil.disk_usage(told.run_dir).free
    if free < needed:
        raise life.WorldDown(
            f"{told.run_dir} has {free / 1e9:.1f} GB free, the samples need {needed / 1e9:.1f}: "
            "fewer --processes, a larger --interval-s, --quick, or another --run-dir"
        )


if __name__ == "__main__":
    main()
