"""`make chaos`: everything is killed, one after another, under load; then every record is looked for.

A fault is a function in faults.py; what it does and what it promises beside the rest stands there. The run
(run.py) starts the whole deployment of `local`, injects the faults, and hands both clusters' logs to the
auditor (auditor.py).
"""

import os
from collections.abc import Sequence

from loadtest.chaos import faults, run
from loadtest.chaos.settings import Settings
from plumbing.settings import load


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0 where every guarantee held and every recovery was in time."""
    told = load(Settings, prefix="CHAOS", argv=arguments, environ=os.environ, description=__doc__ or "")
    if told.list:
        print(faults.listing())
        return 0
    return run.main(told)
