"""`make quality`: which failures each detector foresees, how long before, at how many false alarms.

Simulates fleets at full speed without MQTT, trains every detector on the same healthy cars, sets its
threshold on other healthy cars for 0.1 and 1 false alarms per car-week, and tests it on cars that it never
saw. Writes scorecard.json and plots into --run-dir. The exit status is 0, or 1 with --check if a goal is not
reached.
"""

import fcntl
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from plumbing import life, log
from plumbing.settings import load
from quality import crew, goals, plots, scorecard, table
from quality.ground import fingerprint
from quality.seed import Outcome
from quality.settings import Settings

_DISK_SPARE_BYTES = 1 << 30


def main() -> None:
    """Entry point."""
    life.main(_run)


def _run() -> int:
    settings = load(Settings, prefix="QUALITY", argv=sys.argv[1:], description=__doc__)
    log.configure("quality", "text")
    stop = life.Stop().install()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    started = time.monotonic()
    try:
        with _alone(settings.run_dir):
            outcomes = _outcomes(settings, stop, console)
    except crew.Interrupted:
        console.print("interrupted: nothing is written")
        return 130
    card = scorecard.document(settings, outcomes, sys.argv[1:])
    scorecard.write(card, settings.run_dir)
    plots.draw(outcomes, card, settings.run_dir)
    table.show(console, card)
    judged = goals.goals(card)
    table.show_goals(console, judged)
    console.print(f"{settings.run_dir}/scorecard.json and plots, after {time.monotonic() - started:.0f} s")
    return int(settings.check and not all(goal.reached for goal in judged))


def _outcomes(settings: Settings, stop: life.Stop, console: Console) -> list[Outcome]:
    """The outcomes of all seeds. The samples are removed afterwards unless --keep-data is set."""
    data, kept = settings.run_dir / "data", fingerprint(settings.fleet)
    for old in data.glob("*"):
        if not settings.keep_data or old.name != kept:
            shutil.rmtree(old, ignore_errors=True)
    _check_disk(settings)
    try:
        with crew.shown(console, settings.seeds) as show:
            return crew.run(settings, data / kept, stop, show)
    finally:
        if not settings.keep_data:
            shutil.rmtree(data, ignore_errors=True)


@contextmanager
def _alone(run_dir: Path) -> Iterator[None]:
    """Hold the folder's lock. Raises WorldDown if another run uses the folder."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise life.WorldDown(
                f"another run writes its scorecard into {run_dir}: choose another --run-dir"
            ) from None
        yield


def _check_disk(settings: Settings) -> None:
    """Raises WorldDown if the disk has too little room for the samples."""
    needed = settings.disk_bytes + _DISK_SPARE_BYTES
    free = shutil.disk_usage(settings.run_dir).free
    if free < needed:
        raise life.WorldDown(
            f"{settings.run_dir} has {free / 1e9:.1f} GB free, the samples need {needed / 1e9:.1f} GB: "
            "use fewer --processes, a larger --interval-s, --quick or another --run-dir"
        )


if __name__ == "__main__":
    main()
