"""`make scale`: a fleet of 100 000 cars on this machine: connect, hold, measure, account for every record."""

import os
import shutil
import sys
from collections.abc import Sequence

from rich.console import Console

from loadtest.scale import first_model
from loadtest.scale.run import Scale
from loadtest.scale.settings import Settings, memory_dir
from local.deployment import Deployment
from plumbing import life, log
from plumbing.settings import load


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0 where the whole fleet connected and nothing was lost."""
    told = load(Settings, prefix="SCALE", argv=arguments, environ=os.environ, description=__doc__ or "")
    log.configure("scale", "text")
    stop = life.Stop().install()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 130)
    told.check_room()
    if told.rate_hz < 1 and not first_model.is_kept(told.model):
        console.print("no model is kept that the scorers read: training one with a small fleet first")
        first_model.train(told.model, told.run_dir, told.port_offset)
    deployment = Deployment(told.plan)
    try:
        return Scale(told, deployment, console, stop).run()
    finally:
        console.print("ending all processes")
        deployment.stop()
        if told.fleet_dir is None and (journals := memory_dir(told.port_offset)) is not None:
            shutil.rmtree(journals, ignore_errors=True)
