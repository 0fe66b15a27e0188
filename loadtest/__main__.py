"""python -m loadtest: each command is a package with `main(arguments)`, imported only when it is called."""

import importlib
import sys

from plumbing import life
from plumbing.settings import SettingsError

USAGE = """\
usage: python -m loadtest COMMAND [settings]

  scale   a fleet of 100 000 cars on this machine: connect, hold, measure
  bench   µs of CPU a message at every stage; with --peers beside other programs
  chaos   every record accounted for while parts are killed
  soak    hours under load in which no process may grow
  load    locust against a running deployment, as an outside client with budgets
  compat  the message path over other MQTT brokers and Kafkas, with its ledger
  plan    cores, partitions and replicas for a fleet, from measured costs

`python -m loadtest COMMAND --help` explains its settings.
"""
COMMANDS = ("scale", "bench", "chaos", "soak", "load", "plan", "compat")


def main() -> None:
    """Entry point."""
    life.main(_run)


def _run() -> int:
    command, arguments = (sys.argv[1] if len(sys.argv) > 1 else "--help"), sys.argv[2:]
    if command in ("--help", "-h", "help"):
        print(USAGE)
        return 0
    if command not in COMMANDS:
        raise SettingsError(f"{command!r} is not one of {', '.join(COMMANDS)}; see python -m loadtest --help")
    return int(importlib.import_module(f"loadtest.{command}").main(arguments))


if __name__ == "__main__":
    main()
