"""`make soak`: hours under constant load, in which no process may grow and no record may be lost.

The logs' retention is some minutes here, so that Kafka deletes all the time, as it does after days of use.
Every few seconds the memory, descriptors and threads of every process, the disk and the lag are noted.
"""

from collections.abc import Sequence

from loadtest import output
from loadtest.deployment import ensure_model
from loadtest.soak.run import SoakRun
from loadtest.soak.settings import Settings
from local.deployment import Deployment
from plumbing import life, log
from plumbing.settings import load


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 where every bar was met."""
    settings = load(
        Settings, prefix="SOAK", argv=arguments, description=__doc__, command="python -m loadtest soak"
    )
    log.configure("soak", "text")
    console = output.console(130)
    settings.check_room()
    ensure_model(settings.model, settings.run_dir, settings.port_offset, console.print)
    stop = life.Stop().install()
    deployment = Deployment(settings.plan)
    try:
        return SoakRun(settings, deployment, console, stop).run()
    finally:
        console.print("ending all processes")
        deployment.stop()
