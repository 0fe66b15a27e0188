"""The start and the end of a service."""

import logging
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from plumbing import service
from plumbing.log import LogFormat
from plumbing.settings import setting


@dataclass(frozen=True)
class _Settings:
    cargo: str = setting("what it carries")
    metrics_host: str = setting("address of the probes", default="127.0.0.1")
    metrics_port: int = setting("port of the probes", default=0)
    log_format: LogFormat = setting("format of log lines", default="auto")


@pytest.fixture(autouse=True)
def _process_state() -> Iterator[None]:
    """Signal handlers and the root logger belong to the process: put them back."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    handlers, root = [signal.getsignal(number) for number in numbers], logging.getLogger()
    log_handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = log_handlers, level
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


def _run(monkeypatch: pytest.MonkeyPatch, *argv: str) -> tuple[Any, list[Any]]:
    monkeypatch.setattr("sys.argv", ["ship", *argv])
    works: list[Any] = []
    with pytest.raises(SystemExit) as end:
        service.run("ship", _Settings, "A ship.", lambda *arguments: works.append(arguments))
    return end.value.code, works


def test_a_service_gets_its_settings_its_probes_and_a_stop(monkeypatch: pytest.MonkeyPatch):
    """From flags and environment; signals are handled by the stop; exit code 0 at the end."""
    monkeypatch.setenv("SHIP_CARGO", "tea")
    code, [(settings, health, stop)] = _run(monkeypatch, "--log-format=json")
    assert (code, settings.cargo, settings.log_format) == (None, "tea", "json")
    assert health.not_ready_because == "starting"
    assert signal.getsignal(signal.SIGTERM) == stop._on_signal


def test_a_service_with_bad_settings_does_no_work(monkeypatch: pytest.MonkeyPatch):
    """Exit code 2 before anything else."""
    assert _run(monkeypatch) == (2, [])
