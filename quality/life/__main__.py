"""`make life`: hand-overs, poisoned slices, drift and trials, on fleets simulated at full speed.

Writes summary.json into --run-dir. The exit status is 0, or 1 if a bar is not met.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from rich.console import Console
from rich.table import Table

from quality.crew import LIBRARIES
from quality.life import drift, handovers, poisoned, trials
from quality.life.bars import Bar, Figures

_EXPERIMENTS = {
    "handovers": handovers,
    "poisoned": poisoned,
    "drift": drift,
    "trials": trials,
}  # each with `measure` (one seed), and with `bars` and `summary` (all of them)


def main(argv: list[str]) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m quality.life", description=__doc__)
    parser.add_argument("--only", choices=_EXPERIMENTS, help="one experiment; default: all")
    parser.add_argument("--seeds", type=int, default=3, help="number of fleets, each with its own models")
    parser.add_argument("--processes", type=int, default=2, help="seeds that run at a time")
    parser.add_argument("--run-dir", type=Path, default=Path("var/life"), help="folder for summary.json")
    arguments = parser.parse_args(argv)
    os.environ.update(LIBRARIES)
    console, started = Console(highlight=False, width=None if sys.stdout.isatty() else 120), time.monotonic()
    path, met = arguments.run_dir / "summary.json", True
    summary = json.loads(path.read_text()) if path.exists() else {}  # other experiments' figures stay
    for name in [arguments.only] if arguments.only else _EXPERIMENTS:
        figures = _figures(name, arguments, console)
        bars = _EXPERIMENTS[name].bars(figures)
        summary |= _EXPERIMENTS[name].summary(figures, {bar.name: bar.figure for bar in bars})
        summary.setdefault("bars", {})[name] = {bar.name: vars(bar) | {"met": bar.met} for bar in bars}
        summary.setdefault("seconds", {})[name] = [seed["seconds"] for seed in figures]
        met = met and all(bar.met for bar in bars)
        _show(console, name, bars)
    arguments.run_dir.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(summary, indent=1) + "\n")
    console.print(f"{path}, after {time.monotonic() - started:.0f} s")
    return int(not met)


def _figures(name: str, arguments: argparse.Namespace, console: Console) -> list[Figures]:
    """The figures of each seed, in their order."""
    data, seeds = arguments.run_dir / "data" / name, range(1, arguments.seeds + 1)
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(arguments.processes, context) as pool:
            running = {
                pool.submit(_EXPERIMENTS[name].measure, seed, data / str(seed)): seed for seed in seeds
            }
            console.print(f"{name}: {arguments.seeds} fleets, some minutes each")
            for done in as_completed(running):
                console.print(f"{name}: fleet {running[done]} done, {done.result()['seconds']:.0f} s")
            return [future.result() for future in running]
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _show(console: Console, name: str, bars: list[Bar]) -> None:
    table = Table("figure", "reached", "bar", "", title=name, title_justify="left")
    for bar in bars:
        table.add_row(bar.text, f"{bar.figure:.3g}", f"at most {bar.most:g}", "met" if bar.met else "not met")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
