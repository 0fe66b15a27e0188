"""python -m local: the whole deployment on this machine."""

import sys
import time
from dataclasses import replace

from rich.console import Console

from contract.schema import OWN_FOLDER, VARIABLE
from local.demo import Demo, Settings
from local.deployment import Deployment
from plumbing import life, log, settings
from plumbing.settings import SettingsError

USAGE = """\
usage: python -m local COMMAND [settings]

  demo   run the deployment for --minutes, live, then show the ledger and the scorecard
  up     run the deployment until Ctrl-C; without the fleet where CONNECTED_CARS_SCHEMAS names
         a schema of your own (docs/your-data.md)

`python -m local demo --help` explains the settings.
"""
_LOOK_S = 0.5
_STOPPED = 130  # during the start; as a shell after Ctrl-C


def main() -> None:
    """Entry point."""
    life.main(_run)


def _run() -> int:
    command, arguments = (sys.argv[1] if len(sys.argv) > 1 else "--help"), sys.argv[2:]
    if command in ("--help", "-h", "help"):
        print(USAGE)
        return 0
    if command not in ("demo", "up"):
        raise SettingsError(f"{command!r} is neither demo nor up; see python -m local --help")
    if command == "demo" and OWN_FOLDER is not None:
        raise SettingsError(f"{VARIABLE}: the demo drives the project's own cars; `up` starts all but these")
    name = f"python -m local {command}"
    loaded = settings.load(Settings, prefix="DEMO", argv=arguments, description=USAGE, command=name)
    log.configure("local", "text")
    stop = life.Stop().install(starting=True, status=_STOPPED)
    # Without a terminal rich assumes 80 columns, too few for the tables of a log.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 130)
    # What the demo's fleet goes through would surprise a person who has something else in mind.
    plan = loaded.plan if command == "demo" else replace(loaded.plan, changes={})
    deployment = Deployment(plan)
    try:
        if command == "demo":
            return Demo(loaded, deployment, console, stop).run()
        _keep_up(deployment, console, stop)
        return 0
    finally:
        console.print("ending all processes")
        deployment.stop(started=not stop.starting)


def _keep_up(deployment: Deployment, console: Console, stop: life.Stop) -> None:
    deployment.start(console.print)
    deployment.start_watcher()
    deployment.start_mirror_watch()
    trainer = " ".join(deployment.training_command())
    console.print(f"running; Ctrl-C ends it. This command trains a model:\n  {trainer}")
    if OWN_FOLDER is not None:
        console.print(f"Publish your telemetry to MQTT at {deployment.plan.mqtt_brokers}")
    stop.started()
    while not stop.requested:
        deployment.supervisor.tick()
        for event in deployment.supervisor.new_events():
            console.print(event)
        time.sleep(_LOOK_S)


if __name__ == "__main__":
    main()
