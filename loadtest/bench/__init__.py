"""`make bench`: CPU per message, throughput and latency of every stage, beside others' programs with --peers.

A stage is a module here with

    measure(run: BenchRun) -> dict[str, float]                    our figures
    PEERS: dict[str, Callable[[BenchRun], dict[str, float]]]      optional: the same of others' programs

whose keys are those of `BARS` in report.py where it has any. Both raise WorldDown where a figure would be
wrong (a message was lost, for example), or where a peer cannot run here.
"""

import importlib
import sys
from collections.abc import Sequence

from loadtest.bench.report import report
from loadtest.bench.run import BenchRun, Settings
from plumbing.life import WorldDown
from plumbing.settings import load


def main(arguments: Sequence[str]) -> int:
    """Measure the stages one after another; exit status 0 where everything could be measured."""
    settings = load(
        Settings, prefix="BENCH", argv=arguments, description=__doc__, command="python -m loadtest bench"
    )
    run = BenchRun(settings)
    for name in settings.stages:
        stage = importlib.import_module(f"loadtest.bench.{name}")
        try:
            with run.stage(name):
                run.ours[name] = stage.measure(run)
                for peer, measure in getattr(stage, "PEERS", {}).items() if settings.peers else ():
                    run.measure_peer(name, peer, measure)
        except WorldDown as error:  # the other stages are measured nevertheless
            run.failures[name] = str(error)
            print(f"{name}: {error}", file=sys.stderr)
    report(run)
    return 1 if run.failures else 0
