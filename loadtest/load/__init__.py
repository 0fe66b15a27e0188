"""`make load`: locust drives a running deployment as an outside client.

The command passes its arguments on to locust, and adds the locustfile and where its reports go.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.load import flags

LOCUSTFILE = Path(__file__).parent / "locustfile.py"
REPORTS = Path("var/load")


def command_line(arguments: Sequence[str]) -> list[str]:
    """locust's command line; the arguments come last, where locust prefers them. Workers write no reports."""
    reports = ["--csv", str(REPORTS / "load"), "--html", str(REPORTS / "report.html")]
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE)]
    return [*command, *([] if "--worker" in arguments else reports), *arguments]


def main(arguments: Sequence[str]) -> int:
    """Print the help, or become locust, which must replace sockets and threads before other imports."""
    if {"-h", "--help"} & set(arguments):
        print(flags.text())
        return 0
    # With this path locust's workers find the package `loadtest` from any working directory.
    paths = [str(LOCUSTFILE.parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    line = command_line(arguments)
    os.execve(line[0], line, os.environ | {"PYTHONPATH": os.pathsep.join(paths)})
    return 0
