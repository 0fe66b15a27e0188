"""python -m files: fit, score and example; wiring only."""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from plumbing import life, log
from plumbing.settings import SettingsError, load

try:
    from files import BadData, example, fit, score
    from files.table import Say
except ModuleNotFoundError as error:
    print(f"{error.name} is missing: pip install -c constraints.txt -e '.[trainer,files]'", file=sys.stderr)
    sys.exit(2)

_log = logging.getLogger("files")

USAGE = """\
usage: python -m files COMMAND [settings]

  fit      train a detector on a plain CSV or Parquet file, without Kafka, and score the same file
  score    score another file with that detector
  example  write a file to try it with

Exit codes: 0 done, 2 bad settings or data, 130 stopped. `python -m files fit --help` explains the settings;
docs/your-data.md goes through an example.
"""
EXIT_BAD_DATA, EXIT_STOPPED = 2, 130  # the latter: 128 + SIGINT
FIT = """\
Train a detector on a plain file and score every row of that file. Writes scores, alarms, plots and a model
with which other files can be scored. docs/your-data.md goes through an example.
"""
SCORE = "Score another file with a model that `fit` made. Machines continue from their last scored rows."
EXAMPLE = "Write an example file for `fit`: twelve invented pumps, three of which begin to fail."
COMMANDS: dict[str, tuple[Callable[..., Any], Callable[[Any, Say], int]]] = {
    "fit": (partial(load, fit.Settings, prefix="FIT", description=FIT), fit.run),
    "score": (partial(load, score.Settings, prefix="SCORE", description=SCORE), score.run),
    "example": (partial(load, example.Settings, prefix="EXAMPLE", description=EXAMPLE), example.run),
}


def main() -> None:
    """Entry point."""
    life.main(lambda: run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code. Raises SettingsError."""
    name, arguments = (arguments or ["--help"])[0], arguments[1:]
    if name in ("--help", "-h", "help"):
        print(USAGE)
        return 0
    if name not in COMMANDS:
        raise SettingsError(f"{name!r} is not a command; the commands are fit, score and example")
    if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
        _quieten_libraries()
    log.configure("files", "text", sys.stderr)  # people type these commands; stdout has the tables
    load_settings, command = COMMANDS[name]
    try:
        return command(load_settings(argv=arguments, command=f"python -m files {name}"), _say)
    except BadData as error:
        print(error, file=sys.stderr)
        return EXIT_BAD_DATA
    except KeyboardInterrupt:
        print("stopped: the output folder does not hold a complete model", file=sys.stderr)
        return EXIT_STOPPED


def _quieten_libraries() -> None:
    """Discard what TensorFlow's C++ code prints: greetings, and errors about missing GPUs.

    It writes to file descriptor 2 whatever the log level is, so Python's stderr gets a descriptor of its own.
    """
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _say(text: str) -> None:
    """Progress of what takes long."""
    _log.info("%s", text)


if __name__ == "__main__":
    main()
