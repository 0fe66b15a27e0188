"""`make chaos`: every part is killed, one after another, under load; then every record is accounted for.

A fault is a function in faults.py, and its docstring says what it does. The run (run.py) starts the whole
deployment of `local`, injects the faults, and hands both clusters' logs to the auditor (auditor.py).
"""

from collections.abc import Sequence

from loadtest.chaos import pairs, run
from loadtest.chaos.settings import Settings
from plumbing.settings import load


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 where every guarantee held and every recovery was in time."""
    settings = load(
        Settings, prefix="CHAOS", argv=arguments, description=__doc__, command="python -m loadtest chaos"
    )
    if settings.list:
        print(pairs.listing())
        return 0
    return run.main(settings)
