"""`make bench`: CPU per message, throughput and latency of every stage, beside others' programs with --peers.

A stage is a module here with

    measure(run: Run) -> dict[str, float]                    ours
    peers(run: Run) -> dict[str, dict[str, float]]           others' programs under the same load, by name

whose keys are those of `BARS` in report.py where it has any. It raises WorldDown where a figure would be
wrong (something was lost, say), and tells `run.not_measured` of a peer that cannot run here.
"""

import importlib
import os
import sys
from collections.abc import Sequence

from loadtest.bench import report
from loadtest.bench.run import Run, Settings
from plumbing.life import WorldDown
from plumbing.settings import load


def main(arguments: Sequence[str]) -> int:
    """Measure the stages one after another; the exit status, 0 where everything could be measured."""
    told = load(Settings, prefix="BENCH", argv=arguments, environ=os.environ, description=__doc__ or "")
    with Run(told) as run:
        for name in told.stages:
            _measure(run, name)
        report.write(run)
        report.show(run)
    return 1 if run.failures else 0


def _measure(run: Run, name: str) -> None:
    """One stage with brokers of its own. One that fails does not keep the others from being measured."""
    stage = importlib.import_module(f"loadtest.bench.{name}")
    try:
        with run.stage(name):
            run.ours[name] = stage.measure(run)
            if run.peers:
                run.theirs[name] = stage.peers(run)
    except WorldDown as error:
        run.failures[name] = str(error)
        print(f"{name}: {error}", file=sys.stderr)
