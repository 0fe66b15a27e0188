"""python -m files: fit, score and example; wiring only."""

import logging
import os
import sys
from collections.abc import Sequence

from files import BadData, example, fit, score
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
            return fit.run(_load(fit.Settings, "FIT", arguments, FIT), _say)
        if name == "score":
            return score.run(_load(score.Settings, "SCORE", arguments, SCORE), _say)
        return _example(_load(example.Settings, "EXAMPLE", arguments, EXAMPLE))
    except BadData as error:
        print(error, file=sys.stderr)
        return EXIT_BAD_DATA
    except KeyboardInterrupt:
        print("stopped: the output folder does not hold a complete model", file=sys.stderr)
        return EXIT_STOPPED


FIT = """\
Train a detector on a plain file and score every row of that file. Writes scores, alarms, plots and a model
with which other files can be scored. docs/your-data.md goes through an example.
"""
SCORE = "Score another file with a model that `fit` made. Machines continue from their last scored rows."
EXAMPLE = "Write an example file for `fit`: twelve invented pumps, three of which begin to fail."


def _example(chosen: example.Settings) -> int:
    try:
        rows = example.write(chosen)
    except OSError as error:
        raise BadData(f"--out {chosen.out} cannot be written: {error.strerror}") from error
    print(
        f"{chosen.out}: {rows} rows of {chosen.pumps} pumps. Try:\n{example.COMMAND.format(data=chosen.out)}"
    )
    return 0


def _load(kind: type[settings.S], prefix: str, arguments: Sequence[str], description: str) -> settings.S:
    return settings.load(
        kind,
        prefix=prefix,
        argv=arguments,
        description=description,
        command=f"python -m files {prefix.lower()}",
    )


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
