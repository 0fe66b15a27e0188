"""What `make terraform` says at its end: each step with its time, and what could not be checked here."""

from typing import Any

SUMMARY: list[str] = []


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The summary of the tests that ran terraform."""
    if SUMMARY:
        terminalreporter.section("terraform")
        for line in SUMMARY:
            terminalreporter.write_line(line)
