"""`make chaos`: every part is killed, one after another, under load; then every record is accounted for.

A fault is a function in faults.py, and its docstring says what it does. The run (run.py) starts the whole
deployment of `local`, injects the faults, and hands both clusters' logs to the auditor (auditor.py).
"""

from loadtest.chaos import faults, run
from loadtest.chaos.settings import Settings


def main(settings: Settings) -> int:
    """Exit status 0 where every guarantee held and every recovery was in time."""
    if settings.list:
        print(faults.listing())
        return 0
    return run.main(settings)
