"""The two formats of log lines."""

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from plumbing import log


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """The root logger belongs to the process: restore it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _lines(stream: io.StringIO) -> list[Any]:
    return [json.loads(line, parse_constant=pytest.fail) for line in stream.getvalue().splitlines()]


def test_json_is_one_object_a_line_with_the_extra_fields():
    """Time in UTC, level, service, message and fields; a line break in the message is escaped."""
    out = io.StringIO()
    log.configure("bridge", "json", out)
    logging.getLogger("bridge").warning("two\nlines of %s", "Jürgen", extra={"shard": 3, "where": ("a", 1)})
    logging.getLogger("bridge").info("second")
    first, second = _lines(out)
    assert first.pop("time")[-1] == "Z"
    assert first == {
        "level": "warning",
        "service": "bridge",
        "message": "two\nlines of Jürgen",
        "shard": 3,
        "where": ["a", 1],
    }
    assert abs(datetime.fromisoformat(second["time"]) - datetime.now(UTC)).total_seconds() < 5


def test_json_carries_the_traceback_of_an_exception():
    """It is a field of the same line."""
    out = io.StringIO()
    log.configure("bridge", "json", out)
    try:
        raise KeyError("lost")
    except KeyError:
        logging.getLogger("bridge").exception("failed")
    (line,) = _lines(out)
    assert "KeyError: 'lost'" in line["exception"]


def test_json_stays_valid_with_any_fields():
    """NaN, infinity and objects become text; no field replaces the level or the time."""
    out = io.StringIO()
    log.configure("trainer", "json", out)
    fields = {
        "loss": float("nan"),
        "worst": float("inf"),
        "error": ValueError("x"),
        "level": "debug",
        "time": 0,
    }
    logging.getLogger("trainer").error("odd", extra=fields)
    (line,) = _lines(out)
    assert (line["loss"], line["worst"], line["error"], line["level"]) == ("nan", "inf", "x", "error")
    assert line["time"] != 0


def test_text_is_one_line_with_the_fields_as_key_value():
    """Time, service, level, message, then key=value."""
    out = io.StringIO()
    log.configure("bridge", "text", out)
    logging.getLogger("bridge").warning("paused", extra={"in_flight": 20_000})
    clock, line = out.getvalue().split(" ", 1)
    assert line == "bridge warning: paused in_flight=20000\n"
    assert len(clock) == len("12:34:56")


def test_auto_is_text_on_a_terminal_and_json_elsewhere():
    """A terminal gets text, a pipe gets JSON."""
    terminal, pipe = _Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        log.configure("bridge", "auto", stream)
        logging.getLogger("x").info("hello")
    assert terminal.getvalue().endswith("bridge info: hello\n")
    assert _lines(pipe)[0]["message"] == "hello"


def test_debug_lines_of_libraries_are_not_shown():
    """The level is INFO."""
    out = io.StringIO()
    log.configure("bridge", "json", out)
    logging.getLogger("some.library").debug("detail")
    assert out.getvalue() == ""
