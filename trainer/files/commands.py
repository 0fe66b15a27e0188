"""`fit`, `score` and `example` of `python -m trainer`: wiring only."""

import logging
import os
import sys
from collections.abc import Sequence

from plumbing import log, settings
from trainer.files import example, fit, score
from trainer.files.errors import BadData

_log = logging.getLogger("trainer")

NAMES = ("fit", "score", "example")
EXIT_BAD_DATA, EXIT_STOPPED = 2, 130  # the latter: 128 + SIGINT


def run(name: str, arguments: Sequence[str]) -> int:
    """The exit code. Raises SettingsError."""
    if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
        _quieten_libraries()
    log.configure("trainer", "text", sys.stderr)  # people type these commands; stdout has the tables
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
