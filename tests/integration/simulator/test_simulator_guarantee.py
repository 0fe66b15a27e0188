"""Messages that a killed broker loses are sent again, as far as the buffer of the cars reaches."""

import time
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plumbing import web

pytestmark = pytest.mark.integration

CARS = 40
_FAST = ("--rate-hz", "10", "--buffer-s", "3")  # 30 samples
Simulator = Listener = Any  # defined in conftest.py


def state(port: int) -> tuple[int, str]:
    """Status and text of /readyz; status 0 while the port is not open."""
    try:
        with web.opened(f"http://127.0.0.1:{port}/readyz", timeout_s=2) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def test_acknowledged_but_undelivered_messages_survive_the_death_of_the_broker(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener], mosquitto: Any
) -> None:
    """The subscriber is seconds behind when the broker is killed: all messages are sent again, although the
    broker is down for longer than the buffer reaches."""
    listener, simulator = listen(), simulate(*_FAST, "--keep-alive-s", "5")
    listener.until(lambda: len(listener.telemetry) == CARS, within_s=20)
    listener.leave()
    received_seq = max(max(seen) for seen in listener.telemetry.values())
    simulator.until(lambda: simulator.counts().acknowledged > CARS * (received_seq + 12), within_s=20)
    mosquitto.kill()
    at_kill = simulator.counts()
    simulator.until(lambda: simulator.counts().skipped > CARS * 5, within_s=30)  # the rings are full
    mosquitto.start()
    listener.come_back()
    simulator.until(lambda: simulator.counts().sessions_lost == CARS, within_s=30)
    simulator.until(lambda: simulator.counts().acknowledged > at_kill.acknowledged + CARS * 40, within_s=30)
    assert simulator.end() == 0
    expected = {f"car-{car:06d}": sent for car, sent, _ in simulator.published.tolist()}
    listener.until(
        lambda: {car: max(seen) for car, seen in listener.telemetry.items()} == expected, within_s=10
    )
    assert listener.gaps() == {}


def test_a_broker_that_does_not_answer_is_named_until_it_does(
    simulate: Callable[..., Simulator], listen: Callable[..., Listener], mosquitto: Any, metrics_port: int
) -> None:
    """/readyz names the address of the broker; the cars keep trying and connect when it is up."""
    mosquitto.kill()
    simulator = simulate("--metrics-port", str(metrics_port))
    address = f"{mosquitto.host}:{mosquitto.port}"
    simulator.until(lambda: address in state(metrics_port)[1], within_s=20)
    status, text = state(metrics_port)
    assert (status, "Connection refused" in text) == (503, True)
    time.sleep(1)
    assert simulator.process.poll() is None
    mosquitto.start()
    listener = listen()
    simulator.until(lambda: state(metrics_port)[0] == 200, within_s=30)
    listener.until(lambda: len(listener.telemetry) == CARS, within_s=20)


CLOCK_OF_1970 = """
import os, time
real = time.time
time.time = lambda: real() % 3600 if os.path.exists({flag!r}) else real()
"""


def test_a_fleet_that_starts_in_1970_waits_until_the_clock_is_set(
    simulate: Callable[..., Simulator],
    listen: Callable[..., Listener],
    metrics_port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says why, takes no sample, and sends sound ones as soon as the clock is right."""
    (flag := tmp_path / "1970").touch()
    (tmp_path / "sitecustomize.py").write_text(CLOCK_OF_1970.format(flag=str(flag)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    listener, simulator = listen(), simulate("--metrics-port", str(metrics_port))
    not_set = "clock of this machine is not set: 1970"
    simulator.until(lambda: not_set in state(metrics_port)[1], within_s=20)
    assert not listener.records
    flag.unlink()
    listener.until(lambda: len(listener.records) > CARS * 3, within_s=20)
    assert simulator.end() == 0
    assert listener.gaps() == {}
    assert all(abs(time.time() - record["sampled_at"].timestamp()) < 60 for record in listener.records)
