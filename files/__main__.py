"""python -m files: fit, score and example; wiring only."""

import logging
import os
import sys
from collections.abc import Sequence

from files import example, fit, score
from files.errors import BadData
from plumbing import life, log, settings
from plumbing.settings import SettingsError

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


def main() -> None:
    """Entry point."""
    life.main(lambda: run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code. Raises SettingsError."""
    name, arguments = (arguments or ["--help"])[0], arguments[1:]
    if name in ("--help", "-h", "help"):
        print(USAGE)
        return 0
    if name not in ("fit", "score", "example"):
        raise SettingsError(f"{name!r} is not a command; the commands are fit, score and example")
    if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
        _quieten_libraries()
    log.configure("files", "text", sys.stderr)  # people type these commands; stdout has the tables
    try:
        if name == "fit":
            return fit.run(_told(fit.Settings, "FIT", arguments, FIT), _say)
        if name == "score":
            return score.run(_told(score.Settings, "SCORE", arguments, SCORE), _say)
        return _example(_told(example.Settings, "EXAMPLE", arguments, EXAMPLE))
    except BadData as error:
        print(error, file=sys.stderr)
        return EXIT_BAD_DATA
    except KeyboardInterrupt:
        print("stopped: what was written so far is no model", file=sys.stderr)
        return EXIT_STOPPED


FIT = """\
A detector from a plain file, and what it says of every row of it: scores, alarms, plots, and a model to score
other files with. docs/your-data.md goes through an example.
"""
SCORE = (
    "Score another file by a model that `fit` made. Machines go on from where the model has seen them last."
)
EXAMPLE = "Write a file to try `fit` with: twelve made-up pumps, three of which begin to fail."


def _example(told: example.Settings) -> int:
    try:
        rows = example.write(told)
    except OSError as error:
        raise BadData(f"--out {told.out} cannot be written: {error.strerror}") from error
    print(f"{told.out}: {rows} rows of {told.pumps} pumps. Try:\n{example.COMMAND.format(data=told.out)}")
    return 0


def _told(kind: type[settings.S], prefix: str, arguments: Sequence[str], description: str) -> settings.S:
    return settings.load(kind, prefix=prefix, argv=arguments, environ=os.environ, description=description)


def _quieten_libraries() -> None:
    """Greetings of TensorFlow's C++, and its errors about GPUs that are not there, go nowhere.

    They are written to the file descriptor, whatever the level; Python's stderr gets one of its own.
    """
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _say(text: str) -> None:
    """What takes long."""
    _log.info("%s", text)


if __name__ == "__main__":
    main()
