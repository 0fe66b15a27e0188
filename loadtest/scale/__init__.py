"""`make scale`: a fleet of 100 000 cars on this machine: connect, hold, measure, account for every record."""

import shutil
from collections.abc import Sequence

from loadtest import output
from loadtest.deployment import ensure_model
from loadtest.scale.run import ScaleRun
from loadtest.scale.settings import Settings
from local import preflight
from local.deployment import Deployment
from plumbing import life, log
from plumbing.settings import load


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 where the whole fleet connected and nothing was lost."""
    settings = load(
        Settings, prefix="SCALE", argv=arguments, description=__doc__, command="python -m loadtest scale"
    )
    log.configure("scale", "text")
    console = output.console(130)
    settings.check_room()
    plan = settings.plan  # refuses contradictory settings before a model is trained, as does this:
    preflight.check_fleet(plan.cars, plan.mqtt_shards)
    ensure_model(settings.model, settings.run_dir, settings.port_offset, console.print)
    stop = life.Stop().install()
    deployment = Deployment(plan)
    try:
        return ScaleRun(settings, deployment, console, stop).run()
    finally:
        console.print("ending all processes")
        deployment.stop()
        if plan.fleet_dir is not None:
            shutil.rmtree(plan.fleet_dir, ignore_errors=True)
