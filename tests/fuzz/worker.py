"""python -m tests.fuzz.worker TARGET …: one target under atheris, with libFuzzer's flags; see __main__.py."""

import logging
import sys

import atheris

with atheris.instrument_imports(include=["contract", "bridge", "plumbing", "scorer", "files", "simulator"]):
    from tests.fuzz.targets import TARGETS


def main(arguments: list[str]) -> None:
    """Fuzz until a finding, or until the time is over."""
    logging.disable(logging.CRITICAL)
    atheris.Setup(["worker", *arguments[1:]], TARGETS[arguments[0]])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
