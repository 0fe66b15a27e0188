"""`make load`: locust drives a running deployment as an outside client.

The command adds to locust's own line the locustfile and where its reports go; every flag of locust works.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.load import flags

LOCUSTFILE = Path(__file__).parent / "locustfile.py"
REPORTS = Path("var/load")


def command_line(arguments: Sequence[str]) -> list[str]:
    """locust's command line; what the arguments say comes later and is stronger. Workers report nothing."""
    reports = ["--csv", str(REPORTS / "load"), "--html", str(REPORTS / "report.html")]
    return [
        *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE)),
        *([] if "--worker" in arguments else reports),
        *arguments,
    ]


def main(arguments: Sequence[str]) -> int:
    """Become locust, which must replace sockets and threads before anything else is imported; or --help."""
    if {"-h", "--help"} & set(arguments):
        print(flags.text())
        return 0
    root = str(LOCUSTFILE.parents[2])
    # Only there does a worker's `import loadtest` find this package, wherever the command was typed.
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    line = command_line(arguments)
    os.execve(line[0], line, os.environ | {"PYTHONPATH": os.pathsep.join(paths)})
    return 0
